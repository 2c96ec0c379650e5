"""Closing studies: cancel what waits, and end the study now or with its last running trial."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, exists, select, update
from sqlalchemy.types import BigInteger, Integer, Text

from models.ledger import Change, lock_study, out_of_time, record, study_move, update_study
from models.rowsets import Columns, pack, rowset
from models.states import StudyState, TrialState
from models.tables import Study, Trial

# That a study is closing because its seconds are spent, and why its running trials are then cancelled.
OUT_OF_TIME = "budget"
# By one of its rules it has found enough, or a trial would take more than is left: what runs goes on to its end.
STOPPED = "stopping"
NOT_ADMITTED = "admission"
# With these it did not come to all that it was asked for.
CUT_SHORT = frozenset({OUT_OF_TIME, NOT_ADMITTED})
# The words by which running trials are told to stop.
ENDS_RUNNING = frozenset({OUT_OF_TIME})
# Why a study failed that has spent what it had.
NONE_COMPLETED = "no trial completed"


def waited(step: int) -> str:
    """Say why a trial was pruned that still waited at a rung when its study ended."""
    return f"promotion: it waited at step {step} until the study ended"


def has_completed(connection: Connection, study_id: int) -> bool:
    """Say whether any trial of the study has completed."""
    query = select(exists().where(Trial.study_id == study_id, Trial.state == TrialState.COMPLETED))
    return bool(connection.execute(query).scalar_one())


def cancel_waiting(
    connection: Connection,
    study: Row[Any],
    *,
    reason: str | None,
    now: datetime,
    move: StudyState | None = None,
    only: int | None = None,
) -> None:
    """Cancel every queued trial of a locked study (or `only` that one) and, with `move`, end the study itself.

    Who waits at a rung, and has a result there, is pruned instead, unless it is `only` this one.
    """
    query = (
        select(Trial.number, Trial.attempt, Trial.waiting_step, Trial.score)
        .where(Trial.study_id == study.id, Trial.state == TrialState.QUEUED)
        .order_by(Trial.number)
        .with_for_update()
    )
    if only is not None:
        query = query.where(Trial.number == only)
    waiting = connection.execute(query).all()
    changes = [_left_over(row, reason, prune=only is None) for row in waiting]
    left = [(row.number, change) for row, change in zip(waiting, changes, strict=True)]
    values: dict[str, Any] = {"finished": study.finished + len(waiting)}
    if move is not None:
        values |= study_move(study, move, now, reason=reason)
        changes.append(Change(target=move, source=study.state, reason=reason))
    seqs = record(connection, study, changes, now)
    given = rowset(connection.dialect.name, _LEFT_OVER)
    if waiting:
        connection.execute(
            update(Trial)
            .where(Trial.study_id == bindparam("study"), Trial.number == given.c.number)
            .values(
                state=given.c.target,
                seq=given.c.seq,
                reason=given.c.reason,
                finished_at=bindparam("now"),
                values=case((given.c.target == TrialState.PRUNED, Trial.values)),
                score=case((given.c.target == TrialState.PRUNED, Trial.score)),
            ),
            {
                "study": study.id,
                "now": now,
                "rows": pack(
                    [
                        {"number": number, "target": change.target, "reason": change.reason, "seq": seqs[number]}
                        for number, change in left
                    ]
                ),
            },
        )
    update_study(connection, study, {**values, "seq": study.seq + len(changes)})


_LEFT_OVER: Columns = {"number": Integer(), "target": Text(), "reason": Text(), "seq": BigInteger()}


def _left_over(row: Row[int, int, int | None, float | None], reason: str | None, *, prune: bool) -> Change:
    """Say what becomes of a queued trial that nobody will run any more."""
    pruned = prune and row.waiting_step is not None and row.score is not None
    target, why = (TrialState.PRUNED, waited(row.waiting_step)) if pruned else (TrialState.CANCELLED, reason)
    return Change(target, number=row.number, attempt=row.attempt, source=TrialState.QUEUED, reason=why)


def close(connection: Connection, study: Row[Any], closing: str, *, reason: str, now: datetime) -> None:
    """Start no more trials of a locked study: what waits is cancelled, and the study ends with its last running trial.

    `closing` is why, in a word (of ENDS_RUNNING if running trials are to stop), and `reason` for people.
    """
    move = None
    if study.running == 0:
        move = StudyState.COMPLETED if has_completed(connection, study.id) else StudyState.FAILED
    cancel_waiting(connection, study, reason=reason, now=now, move=move)
    connection.execute(update(Study).where(Study.id == study.id).values(closing=closing, reason=reason))


def end_search(
    connection: Connection, study: Row[Any], definition: Mapping[str, Any], *, reason: str, now: datetime
) -> None:
    """End the search of a locked study that keeps replicates: they are all that is started from now on.

    What waits is cancelled; the budget is lowered to what is allocated and kept, in the `definition` given, too.
    """
    cancel_waiting(connection, study, reason=reason, now=now)
    values = {"budget": study.allocated + study.reserved, "definition": definition, "reason": reason}
    connection.execute(update(Study).where(Study.id == study.id).values(values))


def close_if_spent(connection: Connection, study_id: int, now: datetime) -> Row[Any] | None:
    """Close a running study whose seconds are spent; return the locked row of one that goes on, else None."""
    study = lock_study(connection, study_id)
    if study is None or study.state != StudyState.RUNNING or study.closing is not None:
        return None
    if out_of_time(study, now):
        close(connection, study, OUT_OF_TIME, reason=OUT_OF_TIME, now=now)
        return None
    return study
