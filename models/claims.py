"""Claiming: write trials, attempts and leases in one transaction, as far as they were reserved."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, Update, bindparam, func, select, update
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import JSON, BigInteger, Integer, Text

from models.ledger import Change, record, update_study
from models.reservations import Reservation
from models.rowsets import Columns, among, insert_rowset, pack, rowset
from models.states import AttemptState, TrialState
from models.tables import Attempt, Lease, Moment, Study, Trial


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


def stored_definition(connection: Connection, study_id: int) -> dict[str, Any]:
    """Return what a claim leaves out because it is wide: the study's definition."""
    definition: dict[str, Any] = connection.execute(select(Study.definition).where(Study.id == study_id)).scalar_one()
    return definition


def study_of(connection: Connection, study_id: int) -> Row[Any]:
    """Return a study that exists, without a lock."""
    return connection.execute(select(Study.__table__).where(Study.id == study_id)).one()
