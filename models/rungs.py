"""Rungs: the scores of trials where pruning looks, and what was decided there, once for each (trial, step)."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Connection,
    ScalarSelect,
    Select,
    Update,
    bindparam,
    cast,
    func,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate
from sqlalchemy.types import JSON, BigInteger, Boolean, Double, Integer, Text

from models.rowsets import Columns, among, insert_rowset, pack, rowset
from models.tables import Rung

_RUNG: Columns = {
    "study_id": BigInteger(),
    "number": Integer(),
    "step": BigInteger(),
    "bracket": Integer(),
    "score": Double(),
    "losses": JSON(none_as_null=True),
    "stop": Boolean(),
    "reason": Text(),
}
_PLACE: Columns = {"step": BigInteger(), "bracket": Integer()}
_PASSED: Columns = {"number": Integer(), "passed": BigInteger()}
_STOP: Columns = {"number": Integer(), "step": BigInteger(), "reason": Text()}


def add_rungs(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[tuple[int, int, int]]:
    """Store scores at rungs (study_id, number, step, bracket, score, losses, stop, reason); return the keys that are new.

    `losses` are all of them, of which `score` is the first; None where there is no more than that one.
    """
    added = connection.execute(_new_rungs(connection.dialect.name), {"rows": pack(rows)})
    return {(row.study_id, row.number, row.step) for row in added}


@cache
def _new_rungs(dialect: str) -> ReturningInsert[int, int, int]:
    statement = insert_rowset(dialect, Rung, _RUNG, {"promoted": False}, skip=True)
    return statement.returning(Rung.study_id, Rung.number, Rung.step)


def at_rungs(
    connection: Connection, study_id: int, places: Sequence[tuple[int, int]], numbers: Sequence[int]
) -> tuple[dict[tuple[int, int], int], dict[int, str]]:
    """Count by (step, bracket) the trials whose score there is known; of `numbers` say who is to stop, at any rung, and why."""
    rows = pack([{"step": step, "bracket": bracket} for step, bracket in places])
    given = {"study": study_id, "places": rows, "rows": _as_rows(numbers)}
    found = connection.execute(_at_rungs(connection.dialect.name), given).all()
    sizes = {(row.step, row.bracket): row.size for row in found if row.size is not None}
    return sizes, {row.number: row.reason for row in found if row.reason is not None}


@cache
def _at_rungs(dialect: str) -> CompoundSelect[Any]:
    places = rowset(dialect, _PLACE, parameter="places")
    size = (
        select(func.count())
        .select_from(Rung)
        .where(Rung.study_id == bindparam("study"), Rung.step == places.c.step, Rung.bracket == places.c.bracket)
        .scalar_subquery()
    )
    stops = _stops(dialect).subquery("stops")
    nothing, nowhere = cast(null(), BigInteger), cast(null(), Text)
    return union_all(
        select(places.c.step, places.c.bracket, size.label("size"), nothing.label("number"), nowhere.label("reason")),
        select(nothing, cast(null(), Integer), nothing, cast(stops.c.number, BigInteger), stops.c.reason),
    )


def losses_at_rungs(
    connection: Connection, study_id: int, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], dict[int, tuple[float, ...]]]:
    """Return by (step, bracket) the losses of each trial there, by its number, of a study that has several."""
    found: dict[tuple[int, int], dict[int, tuple[float, ...]]] = {place: {} for place in places}
    rows = pack([{"step": step, "bracket": bracket} for step, bracket in places])
    for row in connection.execute(_losses_at_rungs(connection.dialect.name), {"study": study_id, "places": rows}):
        found[row.step, row.bracket][row.number] = tuple(row.losses)
    return found


@cache
def _losses_at_rungs(dialect: str) -> Select[Any, Any, Any, Any]:
    places = rowset(dialect, _PLACE, parameter="places")
    return select(Rung.step, Rung.bracket, Rung.number, Rung.losses).where(
        Rung.study_id == bindparam("study"), Rung.step == places.c.step, Rung.bracket == places.c.bracket
    )


def stop_behind(
    connection: Connection,
    study_id: int,
    place: tuple[int, int],
    numbers: Sequence[int],
    *,
    rank: int,
    reason: str,
) -> list[int]:
    """Decide that those of these trials stop whose score at this (step, bracket) is behind the `rank`-th best, from 1.

    Return them. Lower scores are better, and one equal to the `rank`-th best goes on; with rank 0 all stop.
    """
    given = {**_at(study_id, place, rank), "numbers": pack(numbers), "why": reason}
    return list(connection.scalars(_stopped_behind(connection.dialect.name), given))


@cache
def _stopped_behind(dialect: str) -> ReturningUpdate[Any]:
    # SQLite would read every score behind that one by the index of scores; it is not used for an expression.
    score = Rung.score.expression if dialect == "postgresql" else Rung.score + 0
    return (
        update(Rung)
        .where(
            Rung.study_id == bindparam("study"),
            Rung.step == bindparam("rung"),
            among(dialect, Rung.number.expression, "numbers"),
            or_(bindparam("rank", type_=Integer) == 0, score > _last_to_go_on()),
        )
        .values(stop=True, reason=bindparam("why"))
        .returning(Rung.number)
    )


def promote(connection: Connection, study_id: int, step: int, *, rank: int) -> None:
    """Let those go on that were to wait at this step and are by now among the `rank` best there; 0 = nobody."""
    if rank > 0:
        connection.execute(_PROMOTED, _at(study_id, (step, 0), rank))


def promote_one(connection: Connection, study_id: int, number: int, step: int) -> None:
    """Let a trial go on that was to wait at this step."""
    connection.execute(
        update(Rung)
        .where(Rung.study_id == study_id, Rung.number == number, Rung.step == step, Rung.stop.is_(True))
        .values(promoted=True)
    )


def _at(study_id: int, place: tuple[int, int], rank: int) -> dict[str, Any]:
    step, bracket = place
    return {"study": study_id, "rung": step, "place": bracket, "rank": rank, "before": max(0, rank - 1)}


def _last_to_go_on() -> ScalarSelect[Any]:
    here = Rung.__table__.alias("here")
    return (
        select(here.c.score)
        .where(
            here.c.study_id == bindparam("study"),
            here.c.step == bindparam("rung"),
            here.c.bracket == bindparam("place"),
        )
        .order_by(here.c.score)
        .offset(bindparam("before", type_=Integer))
        .limit(1)
        .scalar_subquery()
    )


_PROMOTED: Update = (
    update(Rung)
    .where(
        Rung.study_id == bindparam("study"),
        Rung.step == bindparam("rung"),
        Rung.stop.is_(True),
        Rung.promoted.is_(False),
        Rung.score <= _last_to_go_on(),
    )
    .values(promoted=True)
)


def stop_these(connection: Connection, study_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write decisions that trials stop: (number, step, reason)."""
    if rows:
        connection.execute(_stopped(connection.dialect.name), {"study": study_id, "rows": pack(rows)})


@cache
def _stopped(dialect: str) -> Update:
    given = rowset(dialect, _STOP)
    return (
        update(Rung)
        .where(Rung.study_id == bindparam("study"), Rung.number == given.c.number, Rung.step == given.c.step)
        .values(stop=True, reason=given.c.reason)
    )


def curves(connection: Connection, study_id: int, passed: Mapping[int, int]) -> dict[int, dict[int, float]]:
    """Return the scores by step of each of these trials, by number, at its rungs beyond the step that it had `passed`."""
    found: dict[int, dict[int, float]] = {number: {} for number in passed}
    rows = pack([{"number": number, "passed": step} for number, step in passed.items()])
    for row in connection.execute(_curves(connection.dialect.name), {"study": study_id, "rows": rows}):
        found[row.number][row.step] = row.score
    return found


@cache
def _curves(dialect: str) -> Select[int, int, float]:
    given = rowset(dialect, _PASSED)
    return (
        select(Rung.number, Rung.step, Rung.score)
        .where(Rung.study_id == bindparam("study"), Rung.number == given.c.number, Rung.step > given.c.passed)
        .order_by(Rung.number, Rung.step)
    )


def stops(connection: Connection, study_id: int, numbers: Sequence[int]) -> dict[int, str]:
    """Return the reason of the stop decision that stands against each of these trials of a study."""
    if not numbers:
        return {}
    rows = connection.execute(_stops(connection.dialect.name), {"study": study_id, "rows": _as_rows(numbers)})
    return {row.number: row.reason for row in rows if row.reason is not None}


@cache
def _stops(dialect: str) -> Select[Any, Any]:
    """Look up the last decision trial by trial: one way through the primary key, whatever the planner's statistics say.

    None stands against one that was promoted since.
    """
    given = rowset(dialect, {"number": Integer()})
    reason = (
        select(Rung.reason)
        .where(
            Rung.study_id == bindparam("study"),
            Rung.number == given.c.number,
            Rung.stop.is_(True),
            Rung.promoted.is_(False),
        )
        .order_by(Rung.step.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(given.c.number, reason.label("reason"))


def _as_rows(numbers: Sequence[int]) -> str:
    return pack([{"number": number} for number in numbers])
