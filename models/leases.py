"""Holding a trial: heartbeats, measurements and rung decisions, all fenced by the lease's token."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from models.states import StudyState
from models.tables import Lease, Measurement, Rung, Study, Table


def lock_leases(connection: Connection, tokens: Sequence[str]) -> list[Row[Any]]:
    """Lock the leases that these tokens still hold, in (study, trial) order. A token that is missing is stale."""
    query = (
        select(Lease.study_id, Lease.number, Lease.attempt, Lease.token)
        .where(Lease.token.in_(tokens))
        .order_by(Lease.study_id, Lease.number)
        .with_for_update()
    )
    return list(connection.execute(query))


def beat(connection: Connection, tokens: Sequence[str]) -> dict[str, str | None]:
    """Move the heartbeat counters on; for each token that still holds a lease say why it should stop, if it should.

    A trial stops when its study ended, or closed because its seconds are spent.
    """
    query = (
        select(Lease.token, Study.state, Study.closing)
        .join(Study, Study.id == Lease.study_id)
        .where(Lease.token.in_(tokens))
        .order_by(Lease.study_id, Lease.number)
        .with_for_update(of=Lease)
    )
    held = {row.token: _why_stop(row.state, row.closing) for row in connection.execute(query)}
    if held:
        connection.execute(update(Lease).where(Lease.token.in_(list(held))).values(beat=Lease.beat + 1))
    return held


def _why_stop(state: str, closing: str | None) -> str | None:
    return closing if state in {StudyState.RUNNING, StudyState.PAUSED} else state


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


def add_measurements(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Store measurements (study_id, number, attempt, step, values); return those that contradict a stored one.

    The same step with the same values again is accepted.
    """
    key = (Measurement.study_id, Measurement.number, Measurement.attempt, Measurement.step)
    added = {tuple(row) for row in insert_new(connection, Measurement, rows, *key)}
    repeated = [row for row in rows if _key(row) not in added]
    if not repeated:
        return []
    query = select(*key, Measurement.values).where(
        or_(*(and_(*(column == row[column.key] for column in key)) for row in repeated))
    )
    stored = {tuple(row)[:4]: row.values for row in connection.execute(query)}
    return [row for row in repeated if stored[_key(row)] != row["values"]]


def _key(row: Mapping[str, Any]) -> tuple[int, int, int, int]:
    return row["study_id"], row["number"], row["attempt"], row["step"]


def add_rungs(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[tuple[int, int, int]]:
    """Store scores at rungs (study_id, number, step, score); return the keys that are new."""
    key = (Rung.study_id, Rung.number, Rung.step)
    return {tuple(row) for row in insert_new(connection, Rung, [{**row, "stop": False} for row in rows], *key)}


def rung_size(connection: Connection, study_id: int, step: int) -> int:
    """Count the trials whose score at this rung is known."""
    query = select(func.count()).select_from(Rung).where(Rung.study_id == study_id, Rung.step == step)
    return connection.execute(query).scalar_one()


def rung_cutoff(connection: Connection, study_id: int, step: int, rank: int) -> float:
    """Return the `rank`-th best score at a rung, counted from 1; lower is better."""
    query = (
        select(Rung.score)
        .where(Rung.study_id == study_id, Rung.step == step)
        .order_by(Rung.score)
        .offset(rank - 1)
        .limit(1)
    )
    return connection.execute(query).scalar_one()


def stop_at_rung(connection: Connection, study_id: int, step: int, numbers: Sequence[int], reason: str) -> None:
    """Decide that these trials stop at this rung."""
    connection.execute(
        update(Rung)
        .where(Rung.study_id == study_id, Rung.step == step, Rung.number.in_(numbers))
        .values(stop=True, reason=reason)
    )


def stops(connection: Connection, trials: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Return the reason of the stop decision that stands against each of these (study, number) trials."""
    if not trials:
        return {}
    by_study: dict[int, list[int]] = {}
    for study_id, number in trials:
        by_study.setdefault(study_id, []).append(number)
    query = (
        select(Rung.study_id, Rung.number, Rung.reason)
        .where(
            Rung.stop.is_(True),
            or_(*(and_(Rung.study_id == study_id, Rung.number.in_(numbers)) for study_id, numbers in by_study.items())),
        )
        .order_by(Rung.step)
    )
    return {(row.study_id, row.number): row.reason for row in connection.execute(query)}
