"""Holding a trial: heartbeats, measurements and rung decisions, all fenced by the lease's token."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Connection,
    Row,
    Select,
    Update,
    bindparam,
    cast,
    func,
    null,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert, ReturningInsert, ReturningUpdate
from sqlalchemy.types import JSON, BigInteger, Double, Integer, Text

from models.rowsets import Columns, among, insert_rowset, pack, rowset
from models.states import StudyState
from models.tables import Lease, Measurement, Rung, Study, Table

# How the name of a holder begins that is no worker of ours, but asks for trials over HTTP.
CLIENT = "client:"

_TRIAL: Columns = {"study_id": BigInteger(), "number": Integer()}
_MEASUREMENT: Columns = {**_TRIAL, "attempt": Integer(), "step": BigInteger(), "values": JSON()}
_RUNG: Columns = {**_TRIAL, "step": BigInteger(), "score": Double()}


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
    """Move the heartbeat counters on; for each token that still holds a lease say why it should stop, if it should.

    A trial stops when its study ended, or closed because its seconds are spent, or when a person cancelled it.
    """
    rows = connection.execute(_locked_with_study(connection.dialect.name), {"tokens": pack(tokens)})
    held = {row.token: _why_stop(row.state, row.closing) or row.stop for row in rows}
    if held:
        connection.execute(_beating(connection.dialect.name), {"tokens": pack(list(held))})
    return held


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


def add_rungs(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[tuple[int, int, int]]:
    """Store scores at rungs (study_id, number, step, score); return the keys that are new."""
    added = connection.execute(_new_rungs(connection.dialect.name), {"rows": pack(rows)})
    return {(row.study_id, row.number, row.step) for row in added}


@cache
def _new_rungs(dialect: str) -> ReturningInsert[int, int, int]:
    statement = insert_rowset(dialect, Rung, _RUNG, {"stop": False}, skip=True)
    return statement.returning(Rung.study_id, Rung.number, Rung.step)


def at_rungs(
    connection: Connection, study_id: int, steps: Sequence[int], numbers: Sequence[int]
) -> tuple[dict[int, int], dict[int, str]]:
    """Count by step the trials whose score at that rung is known; of `numbers` say who is to stop, at any rung, and why."""
    given = {"study": study_id, "steps": pack([{"step": step} for step in steps]), "rows": _as_rows(numbers)}
    rows = connection.execute(_at_rungs(connection.dialect.name), given).all()
    sizes = {row.step: row.size for row in rows if row.size is not None}
    return sizes, {row.number: row.reason for row in rows if row.reason is not None}


@cache
def _at_rungs(dialect: str) -> CompoundSelect[Any]:
    steps = rowset(dialect, {"step": BigInteger()}, parameter="steps")
    size = (
        select(func.count())
        .select_from(Rung)
        .where(Rung.study_id == bindparam("study"), Rung.step == steps.c.step)
        .scalar_subquery()
    )
    stops = _stops(dialect).subquery("stops")
    nothing, nowhere = cast(null(), BigInteger), cast(null(), Text)
    return union_all(
        select(steps.c.step, size.label("size"), nothing.label("number"), nowhere.label("reason")),
        select(nothing, nothing, cast(stops.c.number, BigInteger), stops.c.reason),
    )


def stop_behind(
    connection: Connection, study_id: int, step: int, numbers: Sequence[int], *, rank: int, reason: str
) -> list[int]:
    """Decide that those of these trials stop whose score at this rung is behind the `rank`-th best, counted from 1.

    Return them. Lower scores are better, and one equal to the `rank`-th best goes on.
    """
    given = {"study": study_id, "rung": step, "numbers": pack(numbers), "before": rank - 1, "why": reason}
    return list(connection.scalars(_stopped_behind(connection.dialect.name), given))


@cache
def _stopped_behind(dialect: str) -> ReturningUpdate[Any]:
    here = Rung.__table__.alias("here")
    last = (
        select(here.c.score)
        .where(here.c.study_id == bindparam("study"), here.c.step == bindparam("rung"))
        .order_by(here.c.score)
        .offset(bindparam("before", type_=Integer))
        .limit(1)
        .scalar_subquery()
    )
    # SQLite would read every score behind that one by the index of scores; it is not used for an expression.
    score = Rung.score.expression if dialect == "postgresql" else Rung.score + 0
    return (
        update(Rung)
        .where(
            Rung.study_id == bindparam("study"),
            Rung.step == bindparam("rung"),
            among(dialect, Rung.number.expression, "numbers"),
            score > last,
        )
        .values(stop=True, reason=bindparam("why"))
        .returning(Rung.number)
    )


def stops(connection: Connection, study_id: int, numbers: Sequence[int]) -> dict[int, str]:
    """Return the reason of the stop decision that stands against each of these trials of a study."""
    if not numbers:
        return {}
    rows = connection.execute(_stops(connection.dialect.name), {"study": study_id, "rows": _as_rows(numbers)})
    return {row.number: row.reason for row in rows if row.reason is not None}


@cache
def _stops(dialect: str) -> Select[Any, Any]:
    """Look up the last decision trial by trial: one way through the primary key, whatever the planner's statistics say."""
    given = rowset(dialect, {"number": Integer()})
    reason = (
        select(Rung.reason)
        .where(Rung.study_id == bindparam("study"), Rung.number == given.c.number, Rung.stop.is_(True))
        .order_by(Rung.step.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(given.c.number, reason.label("reason"))


def _as_rows(numbers: Sequence[int]) -> str:
    return pack([{"number": number} for number in numbers])
