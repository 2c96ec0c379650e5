"""Ending attempts: finish, release and loss, each in one transaction under the study's lock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import compress
from operator import not_
from typing import Any

from sqlalchemy import Connection, Delete, Row, Update, and_, bindparam, delete, func, select, update
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.types import JSON, BigInteger, Double, Integer, Text

from models.closings import NONE_COMPLETED, cancel_waiting, has_completed, waited
from models.leases import lock_leases
from models.ledger import Change, lock_counters, lock_study, record, study_move, update_study
from models.rowsets import Columns, among, pack, rowset, show_moment
from models.rungs import stops
from models.states import FINAL_TRIAL_STATES, LIVE_STUDY, AttemptState, StudyState, TrialState
from models.tables import Attempt, Lease, Moment, Trial


@dataclass(frozen=True, slots=True)
class Ending:
    """How one attempt ended, as its worker says. `target` is the state its trial moves to (queued: run it again)."""

    number: int
    attempt: int
    token: str
    target: TrialState
    values: Mapping[str, float] | None = None
    score: float | None = None
    violation: float | None = None
    reason: str | None = None
    error: str | None = None
    attempt_state: AttemptState = AttemptState.ENDED
    next_run_at: datetime | None = None
    # How it was run: with at least `population` (trials together, itself included) and `seconds`. None: nobody said.
    execution: Mapping[str, Any] | None = None
    # Queued, it waits at this rung, with the values it has there, until it is promoted.
    waiting_step: int | None = None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of a batch of endings, by token: accepted now, accepted before, and refused as stale.

    `study` is the row of their study as it was before, locked; None where there is no such study.
    """

    accepted: tuple[str, ...]
    repeated: tuple[str, ...]
    stale: tuple[str, ...]
    study: Row[Any] | None = None


def end(
    connection: Connection,
    study_id: int,
    endings: Sequence[Ending],
    *,
    now: datetime,
    prunes: bool = False,
    max_failed: int | None = None,
) -> Verdicts:
    """End attempts of one study, fenced by their tokens; the study ends with its last trial.

    A trial against which a stop decision stands is recorded as pruned, although it completed.
    """
    study = lock_counters(connection, study_id)
    if study is None:
        return Verdicts((), (), tuple(ending.token for ending in endings))
    leases = {row.token: row for row in lock_leases(connection, [ending.token for ending in endings])}
    holds = [_holds(leases.get(ending.token), study_id, ending) for ending in endings]
    gone = list(compress(endings, map(not_, holds)))
    over = study.closing or (study.state if study.state not in LIVE_STUDY else None)
    live = [_not_again(_withdrawn(ending, leases[ending.token].stop), over) for ending in compress(endings, holds)]
    if prunes:
        live = _obey(connection, study_id, live)
    if live:
        _move(connection, study, live, now, max_failed)
    repeated = _repeated(connection, study_id, gone)
    return Verdicts(
        accepted=tuple(ending.token for ending in live),
        repeated=tuple(ending.token for ending in gone if ending.token in repeated),
        stale=tuple(ending.token for ending in gone if ending.token not in repeated),
        study=study,
    )


def _holds(lease: Row[Any] | None, study_id: int, ending: Ending) -> bool:
    return lease is not None and (lease.study_id, lease.number, lease.attempt) == (
        study_id,
        ending.number,
        ending.attempt,
    )


def _withdrawn(ending: Ending, stop: str | None) -> Ending:
    """A trial that a person took out has no result, whatever its holder made of it meanwhile."""
    if stop is None:
        return ending
    return replace(
        ending,
        target=TrialState.CANCELLED,
        values=None,
        score=None,
        violation=None,
        reason=stop,
        next_run_at=None,
    )


def _not_again(ending: Ending, why: str | None) -> Ending:
    """A study that takes no more trials takes no attempt back either."""
    if why is None or ending.target is not TrialState.QUEUED:
        return ending
    if ending.waiting_step is not None:
        return replace(ending, target=TrialState.PRUNED, reason=waited(ending.waiting_step), next_run_at=None)
    return replace(ending, target=TrialState.CANCELLED, reason=why)


def _obey(connection: Connection, study_id: int, endings: Sequence[Ending]) -> list[Ending]:
    completed = [ending.number for ending in endings if ending.target is TrialState.COMPLETED]
    decided = stops(connection, study_id, completed)
    return [
        replace(ending, target=TrialState.PRUNED, reason=decided[ending.number]) if ending.number in decided else ending
        for ending in endings
    ]


def _repeated(connection: Connection, study_id: int, gone: Sequence[Ending]) -> set[str]:
    """Find the tokens of those whose very result stands already: a reply was lost, and the worker says it again."""
    if not gone:
        return set()
    last = and_(Attempt.study_id == Trial.study_id, Attempt.number == Trial.number, Attempt.attempt == Trial.attempt)
    query = (
        select(Trial.number, Trial.attempt, Trial.state, Trial.values, Trial.waiting_step, Attempt.token)
        .join(Attempt, last)
        .where(Trial.study_id == study_id, Trial.number.in_([ending.number for ending in gone]))
    )
    stands = {row.number: row for row in connection.execute(query)}
    return {ending.token for ending in gone if ending.number in stands and _same(stands[ending.number], ending)}


def _same(row: Row[Any], ending: Ending) -> bool:
    state = TrialState.COMPLETED if row.state == TrialState.PRUNED else row.state
    target = TrialState.COMPLETED if ending.target is TrialState.PRUNED else ending.target
    same_holder = row.attempt == ending.attempt and row.token == ending.token
    if row.state == TrialState.QUEUED and row.waiting_step is not None:
        # Whatever it was said to have become, it waits.
        return bool(same_holder and (ending.values is None or row.values == ending.values))
    return bool(same_holder and state == target and row.values == ending.values)


_TRIAL_COLUMNS: Columns = {
    "number": Integer(),
    "target": Text(),
    "values": JSON(),
    "score": Double(),
    "violation": Double(),
    "reason": Text(),
    "seq": BigInteger(),
    "execution": JSON(),
}
_AGAIN_COLUMNS: Columns = {
    "number": Integer(),
    "reason": Text(),
    "seq": BigInteger(),
    "next_run_at": Moment(),
    "waiting_step": BigInteger(),
    "values": JSON(),
    "score": Double(),
}
_ATTEMPT_COLUMNS: Columns = {
    "number": Integer(),
    "attempt": Integer(),
    "state": Text(),
    "reason": Text(),
    "error": Text(),
    "population": Integer(),
    "seconds": Double(),
}


def _move(
    connection: Connection, study: Row[Any], endings: Sequence[Ending], now: datetime, max_failed: int | None
) -> None:
    """Write the endings and what follows from them for the study: counters, events, perhaps its own end."""
    final = [ending for ending in endings if ending.target in FINAL_TRIAL_STATES]
    changes = [
        Change(
            target=ending.target,
            number=ending.number,
            attempt=ending.attempt,
            source=TrialState.RUNNING,
            reason=ending.reason,
        )
        for ending in endings
    ]
    counters = {"running": study.running - len(endings), "finished": study.finished + len(final)}
    closing = _study_end(connection, study, endings, counters, max_failed)
    values: dict[str, Any] = {}
    if closing is not None:
        values = study_move(study, closing[0], now, reason=closing[1])
        changes.append(Change(target=closing[0], source=study.state, reason=closing[1]))
    seqs = record(connection, study, changes, now)
    write_trials(connection, study.id, endings, seqs, now)
    spent = study.gpu_spent + _close_attempts(connection, study.id, endings, now)
    update_study(connection, study, {**counters, **values, "gpu_spent": spent, "seq": study.seq + len(changes)})
    if closing is not None and counters["finished"] + counters["running"] < study.allocated:
        _cancel_rest(connection, study.id, closing[1] or closing[0], now)


def _cancel_rest(connection: Connection, study_id: int, reason: str, now: datetime) -> None:
    study = lock_study(connection, study_id)
    if study is not None:
        cancel_waiting(connection, study, reason=reason, now=now)


def write_trials(
    connection: Connection, study_id: int, endings: Sequence[Ending], seqs: Mapping[int, int], now: datetime
) -> None:
    """Move running trials to where their endings say, all in one statement for each of the two kinds."""
    dialect = connection.dialect.name
    ended = [_ended_row(ending, seqs) for ending in endings if ending.target in FINAL_TRIAL_STATES]
    again = [_again_row(ending, seqs) for ending in endings if ending.target is TrialState.QUEUED]
    if ended:
        connection.execute(_ended_trials(dialect), {"now": now, **_given(study_id, ended)})
    if again:
        connection.execute(_queued_trials(dialect), _given(study_id, again))


def _ended_row(ending: Ending, seqs: Mapping[int, int]) -> dict[str, Any]:
    return {
        "number": ending.number,
        "target": ending.target,
        "values": dict(ending.values) if ending.values is not None else None,
        "score": ending.score,
        "violation": ending.violation,
        "reason": ending.reason,
        "seq": seqs[ending.number],
        "execution": ending.execution,
    }


def _again_row(ending: Ending, seqs: Mapping[int, int]) -> dict[str, Any]:
    waits = ending.waiting_step is not None
    return {
        "number": ending.number,
        "reason": ending.reason,
        "seq": seqs[ending.number],
        "next_run_at": show_moment(ending.next_run_at) if ending.next_run_at is not None else None,
        "waiting_step": ending.waiting_step,
        "values": dict(ending.values) if waits and ending.values is not None else None,
        "score": ending.score if waits else None,
    }


def _given(study_id: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"study": study_id, "rows": pack(rows), "numbers": _numbers(rows)}


def _numbers(rows: Sequence[Mapping[str, Any]]) -> str:
    return pack([row["number"] for row in rows])


@cache
def _ended_trials(dialect: str) -> Update:
    given = rowset(dialect, _TRIAL_COLUMNS)
    return (
        update(Trial)
        .where(
            Trial.study_id == bindparam("study"),
            Trial.number == given.c.number,
            # Said twice, so that these trials are looked up in the index, not every trial of the study in the rows given.
            among(dialect, Trial.number.expression, "numbers"),
            Trial.state == TrialState.RUNNING,
        )
        .values(
            state=given.c.target,
            values=given.c["values"],
            score=given.c.score,
            violation=given.c.violation,
            reason=given.c.reason,
            seq=given.c.seq,
            finished_at=bindparam("now"),
            execution=given.c.execution,
        )
    )


@cache
def _queued_trials(dialect: str) -> Update:
    given = rowset(dialect, _AGAIN_COLUMNS)
    return (
        update(Trial)
        .where(
            Trial.study_id == bindparam("study"),
            Trial.number == given.c.number,
            among(dialect, Trial.number.expression, "numbers"),
            Trial.state == TrialState.RUNNING,
        )
        .values(
            state=TrialState.QUEUED,
            seq=given.c.seq,
            reason=given.c.reason,
            next_run_at=given.c.next_run_at,
            waiting_step=func.coalesce(given.c.waiting_step, Trial.waiting_step),
            values=given.c["values"],
            score=given.c.score,
        )
    )


def _close_attempts(connection: Connection, study_id: int, endings: Sequence[Ending], now: datetime) -> float:
    """End attempts and their leases; return the seconds of devices that they took."""
    dialect = connection.dialect.name
    rows = [
        {
            "number": ending.number,
            "attempt": ending.attempt,
            "state": ending.attempt_state,
            "reason": ending.reason,
            "error": ending.error,
            "population": ending.execution["population"] if ending.execution is not None else None,
            "seconds": ending.execution["seconds"] if ending.execution is not None else None,
        }
        for ending in endings
    ]
    ended = connection.execute(_ended_attempts(dialect), {"now": now, **_given(study_id, rows)})
    spent = sum(device_seconds(row.seconds, row.population, row.started_at, now) for row in ended)
    connection.execute(_ended_leases(dialect), {"tokens": pack([ending.token for ending in endings])})
    return spent


def device_seconds(seconds: float | None, population: int | None, started_at: datetime, finished_at: datetime) -> float:
    """Return what an attempt took of its device: as was said, else its part of the time it was held.

    `population` trials shared the device.
    """
    if seconds is not None:
        return seconds
    return max(0.0, (finished_at - started_at).total_seconds()) / (population or 1)


@cache
def _ended_attempts(dialect: str) -> ReturningUpdate[float | None, int | None, datetime]:
    given = rowset(dialect, _ATTEMPT_COLUMNS)
    return (
        update(Attempt)
        .where(
            Attempt.study_id == bindparam("study"),
            Attempt.number == given.c.number,
            Attempt.attempt == given.c.attempt,
            among(dialect, Attempt.number.expression, "numbers"),
        )
        .values(
            state=given.c.state,
            reason=func.substr(given.c.reason, 1, 64),
            error=given.c.error,
            # What was said last is exact; what stands since the claim is what it could be at most.
            population=func.coalesce(given.c.population, Attempt.population),
            seconds=given.c.seconds,
            finished_at=bindparam("now"),
        )
        .returning(Attempt.seconds, Attempt.population, Attempt.started_at)
    )


@cache
def _ended_leases(dialect: str) -> Delete:
    return delete(Lease).where(among(dialect, Lease.token.expression, "tokens"))


def _study_end(
    connection: Connection,
    study: Row[Any],
    endings: Sequence[Ending],
    counters: Mapping[str, int],
    max_failed: int | None,
) -> tuple[StudyState, str | None] | None:
    """Decide whether these endings end the study too, and how."""
    if study.state not in LIVE_STUDY:
        return None
    broken = _broken(connection, study, endings, max_failed)
    spent = study.allocated == study.budget or study.closing is not None
    if broken is not None or not spent or counters["finished"] < study.allocated:
        return broken
    targets = {ending.target for ending in endings}
    if TrialState.COMPLETED in targets or has_completed(connection, study.id):
        return StudyState.COMPLETED, study.reason or study.closing
    return StudyState.FAILED, NONE_COMPLETED


def _broken(
    connection: Connection, study: Row[Any], endings: Sequence[Ending], max_failed: int | None
) -> tuple[StudyState, str] | None:
    now_failed = sum(ending.target is TrialState.FAILED for ending in endings)
    if max_failed is None or not now_failed:
        return None
    query = select(func.count()).where(Trial.study_id == study.id, Trial.state == TrialState.FAILED)
    failed = connection.execute(query).scalar_one() + now_failed
    return (
        (StudyState.FAILED, f"{failed} trials failed, more than max_failed={max_failed}")
        if failed > max_failed
        else None
    )
