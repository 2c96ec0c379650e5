"""Reading trials: pages, deltas, one, its measurements and attempts."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, case, desc, func, or_, select

from models.rowsets import among, pack
from models.states import REPLICATE, AttemptState, TrialState
from models.tables import Attempt, Event, Lease, Measurement, Study, Trial

# Past every finite score, so that trials without one, and those that are not feasible, sort behind those that have one.
_NO_SCORE = 1.7976931348623157e308
_SCORE: ColumnElement[float] = case((Trial.violation == 0, func.coalesce(Trial.score, _NO_SCORE)), else_=_NO_SCORE)

# Of an attempt: number, attempt, state, reason, population.
Past = Row[int, int, str, str | None, int | None]

# What the public sort words order by, and whether downwards. The trial's number settles ties.
SORTS: dict[str, tuple[Any, bool]] = {
    "number": (Trial.number, False),
    "-number": (Trial.number, True),
    "best": (_SCORE, False),
    "-best": (_SCORE, True),
    "seq": (Trial.seq, False),
}


def find_trial(connection: Connection, project_id: int, study_id: int, number: int) -> Row[Any] | None:
    """Read one trial of a project; None for another project's."""
    query = (
        select(Trial.__table__)
        .join(Study, Study.id == Trial.study_id)
        .where(Study.project_id == project_id, Trial.study_id == study_id, Trial.number == number)
    )
    return connection.execute(query).one_or_none()


def list_trials(
    connection: Connection,
    study_id: int,
    *,
    limit: int,
    sort: str = "number",
    states: Sequence[str] = (),
    since: int | None = None,
    after: tuple[float, int] | None = None,
) -> Sequence[Row[Any]]:
    """List a page of a study's trials; `after` is (sort value, number) of the last one already seen.

    `since` keeps the trials whose last change has a higher seq.
    """
    key, down = SORTS[sort]
    query = select(Trial.__table__, key.label("sort_key")).where(Trial.study_id == study_id)
    if states:
        query = query.where(Trial.state.in_(states))
    if since is not None:
        query = query.where(Trial.seq > since)
    if after is not None:
        query = _past(query, key, down, after)
    order = (desc(key), Trial.number.desc()) if down else (key, Trial.number)
    return connection.execute(query.order_by(*order).limit(limit)).all()


def _past(query: Select[Any], key: Any, down: bool, after: tuple[float, int]) -> Select[Any]:  # noqa: ANN401  a column
    value, number = after
    if down:
        return query.where(or_(key < value, and_(key == value, Trial.number < number)))
    return query.where(or_(key > value, and_(key == value, Trial.number > number)))


def changed_trials(connection: Connection, study_id: int, since: int) -> Sequence[Row[Any]]:
    """Return every trial whose last change has a higher seq than `since`, in that order."""
    query = select(Trial.__table__).where(Trial.study_id == study_id, Trial.seq > since).order_by(Trial.seq)
    return connection.execute(query).all()


def draw_of(connection: Connection, study_id: int, number: int) -> int | None:
    """Return the draw index that a trial's point was suggested for; None where it was given."""
    query = select(Trial.draw).where(Trial.study_id == study_id, Trial.number == number)
    return connection.execute(query).scalar_one_or_none()


def failed_by(connection: Connection, study_id: int, seq: int) -> dict[int, int]:
    """Return when trials had failed by an event of the study, number -> seq, also those that were retried since."""
    query = (
        select(Event.number, func.max(Event.seq))
        .where(Event.study_id == study_id, Event.seq <= seq, Event.target == TrialState.FAILED)
        .where(Event.number.is_not(None))
        .group_by(Event.number)
    )
    return {number: when for number, when in connection.execute(query) if number is not None}


def scores(connection: Connection, study_id: int) -> list[Row[int, str, float | None]]:
    """Return (number, state, score) of every finished and feasible trial with a score, by number."""
    query = (
        select(Trial.number, Trial.state, Trial.score)
        .where(Trial.study_id == study_id, Trial.score.is_not(None), Trial.violation == 0)
        .order_by(Trial.number)
    )
    return list(connection.execute(query))


def feasible(connection: Connection, study_id: int) -> list[Row[int, dict[str, float]]]:
    """Return (number, values) of every completed and feasible trial of the search, by number."""
    query = (
        select(Trial.number, Trial.values)
        .where(
            Trial.study_id == study_id,
            Trial.state == TrialState.COMPLETED,
            Trial.violation == 0,
            Trial.origin != REPLICATE,
        )
        .order_by(Trial.number)
    )
    return list(connection.execute(query))


def numbered(connection: Connection, study_id: int, numbers: Sequence[int]) -> dict[int, Row[Any]]:
    """Return these trials of a study by number."""
    query = select(Trial.__table__).where(
        Trial.study_id == study_id, among(connection.dialect.name, Trial.number.expression, "numbers")
    )
    return {row.number: row for row in connection.execute(query, {"numbers": pack(list(numbers))})}


def list_measurements(connection: Connection, study_id: int, number: int) -> list[Row[Any, Any]]:
    """Return (step, values) of a trial by step: at each step the latest attempt's."""
    latest = (
        select(
            Measurement.step,
            Measurement.values,
            func.row_number().over(partition_by=Measurement.step, order_by=Measurement.attempt.desc()).label("place"),
        )
        .where(Measurement.study_id == study_id, Measurement.number == number)
        .subquery()
    )
    query = select(latest.c.step, latest.c["values"]).where(latest.c.place == 1).order_by(latest.c.step)
    return list(connection.execute(query))


def count_strikes(connection: Connection, study_id: int, numbers: Sequence[int]) -> dict[tuple[int, str | None], int]:
    """Count the failed attempts of each of these trials before its latest one, by (number, reason).

    Attempts that were given back are none, nor are those before a person asked for another try.
    """
    if not numbers:
        return {}
    query = (
        select(Attempt.number, Attempt.reason, func.count().label("strikes"))
        .join(Trial, and_(Trial.study_id == Attempt.study_id, Trial.number == Attempt.number))
        .where(
            Attempt.study_id == study_id,
            Attempt.number.in_(numbers),
            Attempt.state != AttemptState.RELEASED,
            Attempt.attempt > Trial.forgiven,
            Attempt.attempt < Trial.attempt,
        )
        .group_by(Attempt.number, Attempt.reason)
    )
    return {(row.number, row.reason): row.strikes for row in connection.execute(query)}


def past_attempts(connection: Connection, study_id: int, numbers: Sequence[int]) -> dict[int, list[Past]]:
    """Return by trial what is to be known of its attempts, the first one first.

    Attempts that were given back are left out: they say nothing of a trial.
    """
    if not numbers:
        return {}
    query = (
        select(Attempt.number, Attempt.attempt, Attempt.state, Attempt.reason, Attempt.population)
        .where(
            Attempt.study_id == study_id,
            Attempt.number.in_(numbers),
            Attempt.state != AttemptState.RELEASED,
        )
        .order_by(Attempt.number, Attempt.attempt)
    )
    found: dict[int, list[Past]] = {}
    for row in connection.execute(query):
        found.setdefault(row.number, []).append(row)
    return found


def attempt_of(connection: Connection, study_id: int, number: int, token: str) -> int | None:
    """Return the attempt of a trial that this token was given for; None when it never was one of the trial's."""
    query = select(Attempt.attempt).where(
        Attempt.study_id == study_id, Attempt.number == number, Attempt.token == token
    )
    return connection.execute(query).scalar_one_or_none()


def leased_trials(
    connection: Connection, study_id: int, tokens: Sequence[str]
) -> list[tuple[Row[Any], Row[int, str, float | None]]]:
    """Return the trials that these tokens hold now, by number, each with its lease's (number, token, seconds).

    In two looks, each by a unique key: joined in one, a planner that knows little may read every trial of the study.
    """
    dialect = connection.dialect.name
    given = {"study": study_id, "tokens": pack(tokens)}
    held = {row.number: row for row in connection.execute(_held(dialect), given)}
    rows = connection.execute(_numbered(dialect), {"study": study_id, "numbers": pack(list(held))})
    return [(row, held[row.number]) for row in rows]


@cache
def _held(dialect: str) -> Select[int, str, float | None]:
    return select(Lease.number, Lease.token, Lease.seconds).where(
        Lease.study_id == bindparam("study"), among(dialect, Lease.token.expression, "tokens")
    )


@cache
def _numbered(dialect: str) -> Select[Any]:
    wanted = among(dialect, Trial.number.expression, "numbers")
    return select(Trial.__table__).where(Trial.study_id == bindparam("study"), wanted).order_by(Trial.number)


def originated(connection: Connection, study_id: int, origin: str) -> Sequence[Row[Any]]:
    """Return the trials of a study that came from there, by number."""
    query = select(Trial.__table__).where(Trial.study_id == study_id, Trial.origin == origin).order_by(Trial.number)
    return connection.execute(query).all()


def reported(connection: Connection, study_id: int, number: int, attempt: int) -> Sequence[Row[Any, Any]]:
    """Return (step, values) of what one attempt of a trial reported, by step."""
    query = select(Measurement.step, Measurement.values).where(
        Measurement.study_id == study_id, Measurement.number == number, Measurement.attempt == attempt
    )
    return connection.execute(query.order_by(Measurement.step)).all()


def list_attempts(connection: Connection, study_id: int, number: int) -> Sequence[Row[Any]]:
    """Return the attempts of a trial, the first one first."""
    query = select(Attempt.__table__).where(Attempt.study_id == study_id, Attempt.number == number)
    return connection.execute(query.order_by(Attempt.attempt)).all()


def taken_keys(connection: Connection, study_id: int, keys: Sequence[str]) -> set[str]:
    """Say which dedupe keys are in use. Under the study's lock the answer stays true."""
    query = select(Trial.dedupe_key).where(Trial.study_id == study_id, Trial.dedupe_key.in_(keys))
    return {key for key in connection.scalars(query) if key is not None}
