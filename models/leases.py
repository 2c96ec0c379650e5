"""Holding a trial: heartbeats and measurements, fenced by the lease's token."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Select, Update, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import JSON, BigInteger, Integer

from models.closings import ENDS_RUNNING
from models.rowsets import Columns, among, insert_rowset, pack, rowset
from models.states import StudyState
from models.tables import Lease, Measurement, Study, Table

# How the name of a holder begins that is no worker of ours, but asks for trials over HTTP.
CLIENT = "client:"

_TRIAL: Columns = {"study_id": BigInteger(), "number": Integer()}
_MEASUREMENT: Columns = {**_TRIAL, "attempt": Integer(), "step": BigInteger(), "values": JSON()}


def lock_leases(connection: Connection, tokens: Sequence[str]) -> list[Row[Any]]:
    """Lock the leases that these tokens still hold, in (study, trial) order. A token that is missing is stale."""
    return list(connection.execute(_locked(connection.dialect.name), {"tokens": pack(tokens)}))


def held(connection: Connection, tokens: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Lock leases as `lock_leases`; return by token the (study, number, attempt) it speaks for, and no other."""
    return {row.token: (row.study_id, row.number, row.attempt) for row in lock_leases(connection, tokens)}


@cache
def _locked(dialect: str) -> Select[int, int, int, str, str | None, float | None]:
    return (
        select(Lease.study_id, Lease.number, Lease.attempt, Lease.token, Lease.stop, Lease.seconds)
        .where(among(dialect, Lease.token.expression, "tokens"))
        .order_by(Lease.study_id, Lease.number)
        .with_for_update()
    )


def beat(connection: Connection, tokens: Sequence[str]) -> dict[str, str | None]:
    """Move the heartbeat counters on; for each token that still holds a lease say why it should stop, if it should."""
    held = why_stop(connection, tokens)
    if held:
        connection.execute(_beating(connection.dialect.name), {"tokens": pack(list(held))})
    return held


def why_stop(connection: Connection, tokens: Sequence[str]) -> dict[str, str | None]:
    """Lock leases as `lock_leases`; return by token why its trial should stop, None where it should not.

    A trial stops when its study ended, or closed because its seconds are spent, or when a person cancelled it.
    """
    rows = connection.execute(_locked_with_study(connection.dialect.name), {"tokens": pack(tokens)})
    return {row.token: _study_over(row.state, row.closing) or row.stop for row in rows}


@cache
def _locked_with_study(dialect: str) -> Select[str, str | None, str, str | None]:
    return (
        select(Lease.token, Lease.stop, Study.state, Study.closing)
        .join(Study, Study.id == Lease.study_id)
        .where(among(dialect, Lease.token.expression, "tokens"))
        .order_by(Lease.study_id, Lease.number)
        .with_for_update(of=Lease)
    )


@cache
def _beating(dialect: str) -> Update:
    return update(Lease).where(among(dialect, Lease.token.expression, "tokens")).values(beat=Lease.beat + 1)


def _study_over(state: str, closing: str | None) -> str | None:
    if state in {StudyState.RUNNING, StudyState.PAUSED}:
        return closing if closing in ENDS_RUNNING else None
    return state


def insert_new(
    connection: Connection,
    table: type[Table],
    rows: Sequence[Mapping[str, Any]],
    *returning: Any,  # noqa: ANN401  columns
) -> list[Row[Any]]:
    """Insert rows whose keys are new, skip the others, and return `returning` of those inserted."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement: Insert = dialect.insert(table).on_conflict_do_nothing()
    return list(connection.execute(statement.returning(*returning), [dict(row) for row in rows]))


def add_measurements(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[int]:
    """Store measurements (study_id, number, attempt, step, values); return which rows contradict a stored one, from 0.

    The same step with the same values again is accepted.
    """
    if not rows:
        return set()
    given = {"rows": pack(rows)}
    added = connection.execute(
        _new_measurements(connection.dialect.name), given, execution_options={"preserve_rowcount": True}
    )
    if added.rowcount == len(rows):
        return set()
    stored = {tuple(row)[:4]: row.values for row in connection.execute(_same_places(connection.dialect.name), given)}
    return {place for place, row in enumerate(rows) if stored[_key(row)] != row["values"]}


@cache
def _new_measurements(dialect: str) -> Insert:
    return insert_rowset(dialect, Measurement, _MEASUREMENT, {}, skip=True)


@cache
def _same_places(dialect: str) -> Select[Any]:
    key = (Measurement.study_id, Measurement.number, Measurement.attempt, Measurement.step)
    given = rowset(dialect, _MEASUREMENT)
    return select(*key, Measurement.values).where(*(column == given.c[column.key] for column in key))


def _key(row: Mapping[str, Any]) -> tuple[int, int, int, int]:
    return row["study_id"], row["number"], row["attempt"], row["step"]
