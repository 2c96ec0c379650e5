"""Closing studies: cancel what waits, and end the study now or with its last running trial."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, select, update
from sqlalchemy.types import BigInteger, Integer

from models.ledger import Change, lock_study, out_of_time, record, study_move, update_study
from models.rowsets import pack, rowset
from models.states import StudyState, TrialState
from models.tables import Study, Trial

# Why a study is closing whose seconds are spent, and why its running trials are then cancelled.
OUT_OF_TIME = "budget"
# Why a study failed that has spent what it had.
NONE_COMPLETED = "no trial completed"


def has_completed(connection: Connection, study_id: int) -> bool:
    """Say whether any trial of the study has completed."""
    query = select(exists().where(Trial.study_id == study_id, Trial.state == TrialState.COMPLETED))
    return bool(connection.execute(query).scalar_one())


def cancel_waiting(
    connection: Connection,
    study: Row[Any],
    *,
    reason: str,
    now: datetime,
    move: StudyState | None = None,
    only: int | None = None,
) -> None:
    """Cancel every queued trial of a locked study (or `only` that one) and, with `move`, end the study itself."""
    query = (
        select(Trial.number, Trial.attempt)
        .where(Trial.study_id == study.id, Trial.state == TrialState.QUEUED)
        .order_by(Trial.number)
        .with_for_update()
    )
    if only is not None:
        query = query.where(Trial.number == only)
    waiting = connection.execute(query).all()
    changes = [
        Change(TrialState.CANCELLED, number=row.number, attempt=row.attempt, source=TrialState.QUEUED, reason=reason)
        for row in waiting
    ]
    values: dict[str, Any] = {"finished": study.finished + len(waiting)}
    if move is not None:
        values |= study_move(study, move, now, reason=reason)
        changes.append(Change(target=move, source=study.state, reason=reason))
    seqs = record(connection, study, changes, now)
    given = rowset(connection.dialect.name, {"number": Integer(), "seq": BigInteger()})
    if waiting:
        connection.execute(
            update(Trial)
            .where(Trial.study_id == bindparam("study"), Trial.number == given.c.number)
            .values(
                state=TrialState.CANCELLED, seq=given.c.seq, reason=bindparam("because"), finished_at=bindparam("now")
            ),
            {
                "study": study.id,
                "now": now,
                "because": reason,
                "rows": pack([{"number": number, "seq": seq} for number, seq in seqs.items()]),
            },
        )
    update_study(connection, study, {**values, "seq": study.seq + len(changes)})


def close(connection: Connection, study: Row[Any], *, reason: str, now: datetime) -> None:
    """Start no more trials of a locked study: what waits is cancelled, and the study ends with its last running trial."""
    if study.running > 0:
        cancel_waiting(connection, study, reason=reason, now=now)
        connection.execute(update(Study).where(Study.id == study.id).values(closing=reason))
        return
    completed = has_completed(connection, study.id)
    cancel_waiting(
        connection, study, reason=reason, now=now, move=StudyState.COMPLETED if completed else StudyState.FAILED
    )


def close_if_spent(connection: Connection, study_id: int, now: datetime) -> None:
    """Close a running study whose seconds are spent."""
    study = lock_study(connection, study_id)
    if study is None or study.state != StudyState.RUNNING or study.closing is not None:
        return
    if out_of_time(study, now):
        close(connection, study, reason=OUT_OF_TIME, now=now)
