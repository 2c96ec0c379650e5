"""Trials that no strategy draws: queued ones that wait to be run, and imported ones that come with their end.

They take numbers like all others and no draw. The caller holds the study's lock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import JSON, BigInteger, Double, Integer, Text

from models.ledger import Change, record, update_study
from models.rowsets import Columns, insert_rowset, pack, show_moment
from models.states import FINAL_TRIAL_STATES, TrialState
from models.tables import Moment, Trial
from models.trials import taken_keys


@dataclass(frozen=True, slots=True)
class Entry:
    """A trial to store: `queued` to be run, or in a final state with what it came to.

    Its `dedupe_key` is stored where no other trial of the study has it.
    """

    params: Mapping[str, Any]
    origin: str
    why: Mapping[str, Any] = field(default_factory=dict)
    state: TrialState = TrialState.QUEUED
    values: Mapping[str, float] | None = None
    score: float | None = None
    violation: float | None = None
    grid_index: int | None = None
    dedupe_key: str | None = None
    reason: str | None = None


def enqueue(
    connection: Connection,
    study: Row[Any],
    entries: Sequence[Entry],
    *,
    now: datetime,
    besides: Mapping[str, Any] | None = None,
) -> range:
    """Store trials under the numbers that follow, and return these. `besides` are further columns of the study.

    The budget as it is afterwards must hold them; the database refuses what it does not.
    """
    numbers = range(study.allocated, study.allocated + len(entries))
    changes = [
        Change(target=entry.state, number=number, attempt=0, reason=entry.reason)
        for number, entry in zip(numbers, entries, strict=True)
    ]
    seqs = record(connection, study, changes, now)
    entries = _distinct(connection, study.id, entries)
    rows = [_row(entry, number, seqs[number], now) for number, entry in zip(numbers, entries, strict=True)]
    given = {"study": study.id, "queue": study.queue, "now": now, "rows": pack(rows)}
    # Counters first: the budget's check, and not a doubled key, is what refuses too many.
    ended = sum(entry.state in FINAL_TRIAL_STATES for entry in entries)
    counters = {
        "allocated": study.allocated + len(entries),
        "finished": study.finished + ended,
        "seq": study.seq + len(entries),
    }
    update_study(connection, study, {**counters, **(besides or {})})
    if rows:
        connection.execute(_entries(connection.dialect.name), given)
    return numbers


def _distinct(connection: Connection, study_id: int, entries: Sequence[Entry]) -> list[Entry]:
    """Leave each key to the first that has it: the same point may be given more than once."""
    keys = [entry.dedupe_key for entry in entries if entry.dedupe_key is not None]
    taken = taken_keys(connection, study_id, keys) if keys else set()
    distinct = []
    for entry in entries:
        distinct.append(replace(entry, dedupe_key=None) if entry.dedupe_key in taken else entry)
        taken |= {entry.dedupe_key} if entry.dedupe_key is not None else set()
    return distinct


def _row(entry: Entry, number: int, seq: int, now: datetime) -> dict[str, Any]:
    return {
        "number": number,
        "seq": seq,
        "params": dict(entry.params),
        "origin": entry.origin,
        "why": dict(entry.why),
        "state": entry.state,
        "values": dict(entry.values) if entry.values is not None else None,
        "score": entry.score,
        "violation": entry.violation,
        "grid_index": entry.grid_index,
        "dedupe_key": entry.dedupe_key,
        "reason": entry.reason,
        "finished_at": show_moment(now) if entry.state in FINAL_TRIAL_STATES else None,
    }


@cache
def _entries(dialect: str) -> Insert:
    columns: Columns = {
        "number": Integer(),
        "seq": BigInteger(),
        "params": JSON(),
        "origin": Text(),
        "why": JSON(),
        "state": Text(),
        "values": JSON(),
        "score": Double(),
        "violation": Double(),
        "grid_index": BigInteger(),
        "dedupe_key": Text(),
        "reason": Text(),
        "finished_at": Moment(),
    }
    fixed = {"study_id": bindparam("study"), "queue": bindparam("queue"), "attempt": 0, "created_at": bindparam("now")}
    return insert_rowset(dialect, Trial, columns, fixed)


def placed(connection: Connection, study_id: int) -> dict[int, int]:
    """Return the grid points that were stored here, each with its trial's number; those that were drawn are left out."""
    query = select(Trial.grid_index, Trial.number).where(
        Trial.study_id == study_id, Trial.draw.is_(None), Trial.grid_index.is_not(None)
    )
    return {row.grid_index: row.number for row in connection.execute(query)}


def standing(connection: Connection, study_id: int, places: Sequence[int]) -> dict[int, int]:
    """Return which of these grid points have a trial already, however they came, with its number."""
    query = select(Trial.grid_index, Trial.number).where(Trial.study_id == study_id, Trial.grid_index.in_(places))
    return {row.grid_index: row.number for row in connection.execute(query)}
