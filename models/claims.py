"""Claiming: take numbers, trials, attempts and leases in one transaction, up to a worker's capacity."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import JSON, BigInteger, Integer, Text

from models.leases import held
from models.ledger import Change, lock_counters, out_of_time, record, update_study
from models.rowsets import Columns, among, insert_rowset, pack, rowset
from models.states import AttemptState, StudyState, TrialState
from models.tables import Attempt, Lease, Moment, Rung, Study, Trial


@dataclass(frozen=True, slots=True)
class Claimed:
    """A trial that this worker now holds. `draw` is set while its parameters are still to be suggested.

    `companions` is the most trials, itself included, that may share a trainer with it; None = any. `origin` is where a
    trial came from that was queued before this claim; None for one that the claim made.
    """

    study_id: int
    number: int
    attempt: int
    token: str
    draw: int | None
    params: Mapping[str, Any] | None
    companions: int | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a claim may take from one study: trials to run again, and fresh (number, draw) pairs.

    `open` counts the study's trials without an end that run or could start now, no more than may run together.
    """

    study: Row[Any]
    again: Sequence[Row[Any]]
    numbers: range
    draws: Sequence[int]
    open: int

    def cut(self, most: int) -> "Reservation":
        """Take no more than `most` trials."""
        again = self.again[:most]
        fresh = most - len(again)
        return replace(self, again=again, numbers=self.numbers[:fresh], draws=self.draws[:fresh])


def candidate(
    connection: Connection, *, queue: str, objectives: Sequence[str], passed: frozenset[int], now: datetime
) -> int | None:
    """Find a study with work for `queue`, the least served first, that is not among `passed`; None when there is none.

    A study that runs a registered objective is found only where `objectives` has its name. Takes no lock: a claim
    looks again.
    """
    given = {"queue": queue, "now": now, "passed": pack(sorted(passed)), "objectives": pack(objectives)}
    return connection.execute(_candidate(connection.dialect.name), given).scalar_one_or_none()


def has_work(connection: Connection, *, queue: str, objectives: Sequence[str], besides: int, now: datetime) -> bool:
    """Say whether a study other than `besides` has work for `queue`, as `candidate` sees it."""
    found = candidate(connection, queue=queue, objectives=objectives, passed=frozenset({besides}), now=now)
    return found is not None


@cache
def _candidate(dialect: str) -> Select[int]:
    return (
        select(Study.id)
        .where(
            Study.queue == bindparam("queue"),
            or_(Study.objective.is_(None), among(dialect, Study.objective.expression, "objectives")),
            claimable(bindparam("now", type_=Moment)),
            ~among(dialect, Study.id.expression, "passed"),
        )
        .order_by(Study.running, Study.allocated, Study.id)
        .limit(1)
    )


def claimable(now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Say of a study's row whether a trial of it may start: a fresh one, or one that waits no longer."""
    waiting = exists().where(
        Trial.study_id == Study.id,
        Trial.state == TrialState.QUEUED,
        or_(Trial.next_run_at.is_(None), Trial.next_run_at <= now),
        goes_on(Trial.__table__),
    )
    return and_(
        Study.state == StudyState.RUNNING,
        Study.closing.is_(None),
        or_(Study.parallelism.is_(None), Study.running < Study.parallelism),
        or_(
            Study.allocated + Study.reserved < Study.budget,
            waiting,
            # What it keeps for its replicates is due: whoever claims queues them.
            and_(Study.reserved > 0, Study.finished == Study.allocated),
        ),
    )


def reserve(connection: Connection, study_id: int, *, capacity: int, now: datetime) -> Reservation | None:
    """Lock the study and say what can be taken now; None when nothing can.

    Budget, parallelism, pause and cancel are all read under the lock, so none can be passed. A grid's budget is never
    larger than the grid, so its draws end with it.
    """
    study = lock_counters(connection, study_id)
    if study is None or study.state != StudyState.RUNNING or study.closing is not None or out_of_time(study, now):
        return None
    slots = capacity if study.parallelism is None else min(capacity, study.parallelism - study.running)
    if slots <= 0:
        return None
    waiting = study.allocated - study.finished - study.running
    again = _waiting(connection, study_id, slots, now) if waiting > 0 else []
    left = study.budget - study.reserved - study.allocated
    fresh = min(slots - len(again), left)
    if fresh + len(again) <= 0:
        return None
    unfinished = study.running + (again[0].due if again else 0) + left
    return Reservation(
        study=study,
        again=again,
        numbers=range(study.allocated, study.allocated + fresh),
        draws=range(study.drawn, study.drawn + fresh),
        open=unfinished if study.parallelism is None else min(unfinished, study.parallelism),
    )


def _waiting(connection: Connection, study_id: int, limit: int, now: datetime) -> Sequence[Row[Any]]:
    """Lock the first trials that may run again now; `due` counts all of them."""
    given = {"study": study_id, "now": now, "most": limit}
    return connection.execute(_WAITING, given).all()


def goes_on(trial: FromClause) -> ColumnElement[bool]:
    """Say of a queued trial's row that it does not wait at a rung, or was promoted there."""
    promoted = exists().where(
        Rung.study_id == trial.c.study_id,
        Rung.number == trial.c.number,
        Rung.step == trial.c.waiting_step,
        Rung.promoted.is_(True),
    )
    return or_(trial.c.waiting_step.is_(None), promoted)


def _due(trial: FromClause) -> ColumnElement[bool]:
    return and_(
        trial.c.study_id == bindparam("study"),
        trial.c.state == TrialState.QUEUED,
        or_(trial.c.next_run_at.is_(None), trial.c.next_run_at <= bindparam("now", type_=Moment)),
        goes_on(trial),
    )


_OTHERS = Trial.__table__.alias("others")
_WAITING = (
    select(
        Trial.number,
        Trial.attempt,
        Trial.draw,
        Trial.params,
        Trial.origin,
        select(func.count()).select_from(_OTHERS).where(_due(_OTHERS)).scalar_subquery().label("due"),
    )
    .where(_due(Trial.__table__))
    .order_by(Trial.number)
    .limit(bindparam("most", type_=Integer))
    .with_for_update()
)


def take(
    connection: Connection,
    reservation: Reservation,
    points: Sequence[Mapping[str, Any]],
    *,
    worker: str,
    now: datetime,
    seconds: float | None = None,
    held: int | None = 0,
    companions: Mapping[int, int] = MappingProxyType({}),
) -> list[Claimed]:
    """Write the claim. `points` has one mapping for each fresh number: origin, params, grid_index, dedupe_key, why.

    `seconds` is how long the leases last without a heartbeat; None = as long as the deployment's. `held` is how many
    trials the worker has besides, which may share a trainer with these; None for who has no trainer of ours.
    `companions` limits the company of those numbers that are named.
    """
    study = reservation.study
    claimed = [
        replace(
            _claimed(study.id, row.number, row.attempt + 1, row.draw, row.params),
            companions=companions.get(row.number),
            origin=row.origin,
        )
        for row in reservation.again
    ]
    again = len(claimed)
    claimed += [
        _claimed(study.id, number, 1, draw, point["params"])
        for number, draw, point in zip(reservation.numbers, reservation.draws, points, strict=True)
    ]
    changes = [
        Change(
            target=TrialState.RUNNING,
            number=claim.number,
            attempt=claim.attempt,
            source=TrialState.QUEUED if place < again else None,
        )
        for place, claim in enumerate(claimed)
    ]
    seqs = record(connection, study, changes, now)
    _run_again(connection, reservation, seqs, now)
    _insert_fresh(connection, reservation, points, seqs, now)
    together = None if held is None else held + len(claimed)
    _grant(connection, study.id, claimed, {"worker": worker, "now": now, "seconds": seconds, "together": together})
    counters = {
        "allocated": study.allocated + len(reservation.numbers),
        # A grid passes over the draws whose points were queued by hand.
        "drawn": reservation.draws[-1] + 1 if reservation.draws else study.drawn,
        "running": study.running + len(claimed),
        "seq": study.seq + len(changes),
        "started_at": study.started_at or now,
    }
    update_study(connection, study, counters)
    return claimed


def _claimed(study_id: int, number: int, attempt: int, draw: int, params: Mapping[str, Any] | None) -> Claimed:
    return Claimed(
        study_id=study_id,
        number=number,
        attempt=attempt,
        token=secrets.token_hex(16),
        draw=draw if params is None else None,
        params=params,
    )


def _run_again(connection: Connection, reservation: Reservation, seqs: Mapping[int, int], now: datetime) -> None:
    rows = [{"number": row.number, "seq": seqs[row.number]} for row in reservation.again]
    if rows:
        numbers = pack([row["number"] for row in rows])
        given = {"study": reservation.study.id, "now": now, "rows": pack(rows), "numbers": numbers}
        connection.execute(_again_trials(connection.dialect.name), given)


@cache
def _again_trials(dialect: str) -> Update:
    given = rowset(dialect, {"number": Integer(), "seq": BigInteger()})
    return (
        update(Trial)
        .where(
            Trial.study_id == bindparam("study"),
            Trial.number == given.c.number,
            among(dialect, Trial.number.expression, "numbers"),
            Trial.state == TrialState.QUEUED,
        )
        .values(
            state=TrialState.RUNNING,
            reason=None,
            attempt=Trial.attempt + 1,
            seq=given.c.seq,
            started_at=func.coalesce(Trial.started_at, bindparam("now", type_=Moment)),
            next_run_at=None,
            # What it had where it waited.
            values=None,
            score=None,
        )
    )


def _insert_fresh(
    connection: Connection,
    reservation: Reservation,
    points: Sequence[Mapping[str, Any]],
    seqs: Mapping[int, int],
    now: datetime,
) -> None:
    study = reservation.study
    rows = [
        {"number": number, "draw": draw, "seq": seqs[number], **point}
        for number, draw, point in zip(reservation.numbers, reservation.draws, points, strict=True)
    ]
    if rows:
        given = {"study": study.id, "queue": study.queue, "now": now, "rows": pack(rows)}
        connection.execute(_fresh_trials(connection.dialect.name), given)


@cache
def _fresh_trials(dialect: str) -> Insert:
    columns: Columns = {
        "number": Integer(),
        "draw": Integer(),
        "seq": BigInteger(),
        "params": JSON(),
        "origin": Text(),
        "grid_index": BigInteger(),
        "dedupe_key": Text(),
        "why": JSON(),
    }
    fixed = {
        "study_id": bindparam("study"),
        "queue": bindparam("queue"),
        "state": TrialState.RUNNING.value,
        "attempt": 1,
        "created_at": bindparam("now"),
        "started_at": bindparam("now"),
    }
    return insert_rowset(dialect, Trial, columns, fixed)


def _grant(connection: Connection, study_id: int, claimed: Sequence[Claimed], common: Mapping[str, Any]) -> None:
    """Write attempts and leases; `common` is what all have: worker, now, seconds, and how many are held `together`."""
    dialect = connection.dialect.name
    rows = [
        {
            "number": claim.number,
            "attempt": claim.attempt,
            "token": claim.token,
            "population": _population(claim, common["together"]),
        }
        for claim in claimed
    ]
    given = {"study": study_id, "worker": common["worker"], "rows": pack(rows)}
    connection.execute(_fresh_attempts(dialect), {**given, "now": common["now"]})
    connection.execute(_fresh_leases(dialect), {**given, "seconds": common["seconds"]})


def _population(claim: Claimed, together: int | None) -> int | None:
    """Say with how many it may come to share a trainer: who is limited waits for others to go."""
    return together if together is None or claim.companions is None else min(together, claim.companions)


_GRANTED: Columns = {"number": Integer(), "attempt": Integer(), "token": Text()}


@cache
def _fresh_attempts(dialect: str) -> Insert:
    fixed = {
        "study_id": bindparam("study"),
        "worker": bindparam("worker"),
        "state": AttemptState.RUNNING.value,
        "started_at": bindparam("now"),
    }
    return insert_rowset(dialect, Attempt, {**_GRANTED, "population": Integer()}, fixed)


@cache
def _fresh_leases(dialect: str) -> Insert:
    fixed = {
        "study_id": bindparam("study"),
        "worker": bindparam("worker"),
        "seconds": bindparam("seconds"),
        "beat": 0,
    }
    return insert_rowset(dialect, Lease, _GRANTED, fixed)


def still_held(connection: Connection, study_id: int, worker: str) -> list[Claimed]:
    """Return the trials of a study that `worker` holds now, by number. Mostly none, so leases are looked at first."""
    leases = connection.execute(
        select(Lease.number, Lease.attempt, Lease.token)
        .where(Lease.study_id == study_id, Lease.worker == worker)
        .order_by(Lease.number)
    ).all()
    if not leases:
        return []
    query = select(Trial.number, Trial.draw, Trial.params, Trial.origin).where(
        Trial.study_id == study_id, Trial.number.in_([lease.number for lease in leases])
    )
    trials = {row.number: row for row in connection.execute(query)}
    return [
        replace(
            _claimed(study_id, lease.number, lease.attempt, trials[lease.number].draw, trials[lease.number].params),
            token=lease.token,
            origin=trials[lease.number].origin,
        )
        for lease in leases
    ]


def fill(connection: Connection, study: Row[Any], points: Sequence[tuple[Claimed, Mapping[str, Any]]]) -> list[Claimed]:
    """Give reserved trials of a locked study their parameters, fenced by their tokens; return those that still hold.

    Each comes back with the parameters that are stored: a unit that runs again must not give out others.
    Each trial's seq moves on, so that snapshots of other workers see the pending point.
    """
    places = held(connection, [claim.token for claim, _ in points])
    live = [
        (claim, point)
        for claim, point in points
        if places.get(claim.token) == (claim.study_id, claim.number, claim.attempt)
    ]
    if not live:
        return []
    rows = [
        {"number": claim.number, "seq": study.seq + offset, **point} for offset, (claim, point) in enumerate(live, 1)
    ]
    connection.execute(_filled_trials(connection.dialect.name), {"study": study.id, "rows": pack(rows)})
    update_study(connection, study, {"seq": study.seq + len(live)})
    query = select(Trial.number, Trial.params).where(
        Trial.study_id == study.id, Trial.number.in_([claim.number for claim, _ in live])
    )
    stored = {row.number: row.params for row in connection.execute(query)}
    return [replace(claim, params=stored[claim.number]) for claim, _ in live]


@cache
def _filled_trials(dialect: str) -> Update:
    columns: Columns = {
        "number": Integer(),
        "params": JSON(),
        "origin": Text(),
        "why": JSON(),
        "dedupe_key": Text(),
        "parent": Integer(),
        "seq": BigInteger(),
    }
    given = rowset(dialect, columns)
    return (
        update(Trial)
        .where(Trial.study_id == bindparam("study"), Trial.number == given.c.number, Trial.params.is_(None))
        .values({name: given.c[name] for name in columns if name != "number"})
    )


def stored_definition(connection: Connection, study_id: int) -> dict[str, Any]:
    """Return what a claim leaves out because it is wide: the study's definition."""
    definition: dict[str, Any] = connection.execute(select(Study.definition).where(Study.id == study_id)).scalar_one()
    return definition


def study_of(connection: Connection, study_id: int) -> Row[Any]:
    """Return a study that exists, without a lock."""
    return connection.execute(select(Study.__table__).where(Study.id == study_id)).one()


def taken_keys(connection: Connection, study_id: int, keys: Sequence[str]) -> set[str]:
    """Say which dedupe keys are in use. Under the study's lock the answer stays true."""
    query = select(Trial.dedupe_key).where(Trial.study_id == study_id, Trial.dedupe_key.in_(keys))
    return {key for key in connection.scalars(query) if key is not None}
