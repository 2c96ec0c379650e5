"""What the rules that end a study early look at."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from models.states import IMPORTED, REPLICATE, TrialState
from models.tables import Attempt, Trial

# Trials that came to something, be it nothing good.
_ENDED = (TrialState.COMPLETED, TrialState.PRUNED, TrialState.DIVERGED, TrialState.FAILED)
# What was run elsewhere says nothing of how this search goes on, and what is run again is not of it.
_OF_THE_SEARCH = Trial.origin.not_in((IMPORTED, REPLICATE))


def best_completed(connection: Connection, study_id: int) -> Row[int, float | None] | None:
    """Return (number, score) of the best completed trial; None while there is none."""
    query = (
        select(Trial.number, Trial.score)
        .where(
            Trial.study_id == study_id,
            Trial.state == TrialState.COMPLETED,
            Trial.violation == 0,
            Trial.score.is_not(None),
            _OF_THE_SEARCH,
        )
        .order_by(Trial.score, Trial.number)
        .limit(1)
    )
    return connection.execute(query).one_or_none()


def last_ended(connection: Connection, study_id: int, count: int) -> list[float | None]:
    """Return the scores of the last `count` trials that ended, the last one first; None where one cannot be the best."""
    last = _last(connection, study_id, count)
    return [row.score if row.state == TrialState.COMPLETED and row.violation == 0 else None for row in last]


def best_before(connection: Connection, study_id: int, count: int) -> float | None:
    """Return the best score of those that completed before the last `count` that ended."""
    last = _last(connection, study_id, count)
    query = select(func.min(Trial.score)).where(
        Trial.study_id == study_id,
        Trial.state == TrialState.COMPLETED,
        Trial.violation == 0,
        _OF_THE_SEARCH,
        Trial.seq < last[-1].seq,
    )
    return connection.execute(query).scalar_one() if last else None


def _last(connection: Connection, study_id: int, count: int) -> Sequence[Row[int, str, float | None, float | None]]:
    query = (
        select(Trial.seq, Trial.state, Trial.score, Trial.violation)
        .where(Trial.study_id == study_id, Trial.state.in_(_ENDED), _OF_THE_SEARCH)
        .order_by(Trial.seq.desc())
        .limit(count)
    )
    return connection.execute(query).all()


def last_reasons(connection: Connection, study_id: int, count: int) -> list[dict[str, Any]]:
    """Return why the last `count` trials that a model suggested were, the last one first."""
    query = (
        select(Trial.why)
        .where(Trial.study_id == study_id, Trial.origin == "model", Trial.params.is_not(None))
        .order_by(Trial.number.desc())
        .limit(count)
    )
    return list(connection.scalars(query))


def attempts_of_completed(connection: Connection, study_id: int, count: int) -> list[Row[Any]]:
    """Return number, seconds, population, started_at, finished_at of all attempts of the last `count` completed trials."""
    last = (
        select(Trial.number)
        .where(Trial.study_id == study_id, Trial.state == TrialState.COMPLETED, Trial.origin != IMPORTED)
        .order_by(Trial.seq.desc())
        .limit(count)
        .subquery()
    )
    query = select(Attempt.number, Attempt.seconds, Attempt.population, Attempt.started_at, Attempt.finished_at).where(
        Attempt.study_id == study_id, Attempt.number.in_(select(last.c.number)), Attempt.finished_at.is_not(None)
    )
    return list(connection.execute(query))
