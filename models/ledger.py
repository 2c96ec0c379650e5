"""What every state change goes through: the study row's lock, its counters, and the event log.

Lock order is study, trial, lease. On SQLite a writing transaction holds the whole database, so the same statements
are exact there without row locks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import BigInteger, Integer, Text

from models.rowsets import Columns, insert_rowset, pack
from models.states import StudyState, study_sources
from models.tables import Event, Study


@dataclass(frozen=True, slots=True)
class Change:
    """One state change of a trial, or of its study where `number` is None."""

    target: str
    number: int | None = None
    attempt: int | None = None
    source: str | None = None
    reason: str | None = None


def lock_study(connection: Connection, study_id: int) -> Row[Any] | None:
    """Take the study's row lock and return the row; None when there is no such study."""
    return connection.execute(_LOCKED, {"study": study_id}).one_or_none()


def lock_counters(connection: Connection, study_id: int) -> Row[Any] | None:
    """Do the same, but leave out what is wide and decides nothing: definition and labels."""
    return connection.execute(_LOCKED_NARROW, {"study": study_id}).one_or_none()


_LOCKED = select(Study.__table__).where(Study.id == bindparam("study")).with_for_update()
_LOCKED_NARROW = _LOCKED.with_only_columns(
    *(column for column in Study.__table__.c if column.name not in {"definition", "labels"})
)


def record(connection: Connection, study: Row[Any], changes: Sequence[Change], now: datetime) -> dict[int, int]:
    """Write one event for each change, numbered from the study's `seq`; return the seq of each trial's change.

    The caller holds the study's lock and stores `study.seq + len(changes)` with `update_study`.
    """
    if not changes:
        return {}
    rows = [
        {
            "seq": study.seq + offset,
            "number": change.number,
            "attempt": change.attempt,
            "source": change.source,
            "target": change.target,
            "reason": change.reason,
        }
        for offset, change in enumerate(changes, start=1)
    ]
    connection.execute(_new_events(connection.dialect.name), {"study": study.id, "now": now, "rows": pack(rows)})
    return {change.number: seq for seq, change in enumerate(changes, start=study.seq + 1) if change.number is not None}


@cache
def _new_events(dialect: str) -> Insert:
    columns: Columns = {
        "seq": BigInteger(),
        "number": Integer(),
        "attempt": Integer(),
        "source": Text(),
        "target": Text(),
        "reason": Text(),
    }
    return insert_rowset(dialect, Event, columns, {"study_id": bindparam("study"), "at": bindparam("now")})


def update_study(connection: Connection, study: Row[Any], values: Mapping[str, Any]) -> None:
    """Write the study's counters. The caller holds its lock; the guard turns a forgotten lock into an error."""
    done = connection.execute(
        update(Study).where(Study.id == study.id, Study.seq == study.seq, Study.state == study.state).values(values)
    )
    if done.rowcount != 1:
        raise AssertionError(f"study {study.id} changed under its own lock")


def study_move(study: Row[Any], target: StudyState, now: datetime, *, reason: str | None = None) -> dict[str, Any]:
    """Give the column values of a study's move to `target`, its clock included. Raise ValueError if not allowed."""
    if study.state not in study_sources(target):
        raise ValueError(f"a {study.state} study cannot become {target}")
    values: dict[str, Any] = {"state": target.value, "reason": reason}
    if target is StudyState.PAUSED:
        values["paused_at"] = now
    elif study.paused_at is not None:
        values |= {"paused_at": None, "paused_seconds": study.paused_seconds + _since(study, now)}
    values["finished_at"] = None if target in {StudyState.RUNNING, StudyState.PAUSED} else now
    return values


def _since(study: Row[Any], now: datetime) -> float:
    # What passed before the first claim was never counted, so it is not taken off either.
    if study.started_at is None:
        return 0.0
    return float(max(0.0, (now - max(study.paused_at, study.started_at)).total_seconds()))


def elapsed(study: Row[Any], now: datetime) -> float:
    """Return the seconds a study has run since its first claim, pauses taken off."""
    if study.started_at is None:
        return 0.0
    pause = study.paused_seconds + (_since(study, now) if study.paused_at is not None else 0.0)
    return float((now - study.started_at).total_seconds() - pause)


def out_of_time(study: Row[Any], now: datetime) -> bool:
    """Say whether the study's seconds are spent."""
    return study.seconds is not None and elapsed(study, now) >= study.seconds
