"""Company: with how many others a trial may share a trainer that was lost in company before.

Which of those that were lost together was to blame nobody knows. So each runs in half as much company the next time,
until the one that kills is alone.
"""

from collections.abc import Mapping, Sequence

from models import trials
from models.session import Connection
from models.states import AttemptState
from search.failures import Failure


def companions(connection: Connection, study_id: int, attempts: Mapping[int, int]) -> dict[int, int]:
    """Return the most trials, itself included, that may share a trainer with each of these; who may have any is left out.

    `attempts` names the attempt of each that this holds for. It follows from the earlier ones alone, which have ended:
    whoever asks is answered alike.
    """
    past = trials.past_attempts(connection, study_id, list(attempts))
    limits = {number: _limit(rows, before=attempts[number]) for number, rows in past.items()}
    return {number: limit for number, limit in limits.items() if limit is not None}


def _limit(past: Sequence[trials.Past], *, before: int) -> int | None:
    limit: int | None = None
    for row in past:
        if row.attempt < before:
            limit = _halved(limit, row) if row.state == AttemptState.LOST else None
    return limit


def _halved(limit: int | None, lost: trials.Past) -> int | None:
    """Limit further who was lost once more. Who was alone is left alone, unless nothing was held against it before."""
    if lost.reason == Failure.POISON:
        return 1
    if (lost.population or 1) > 1:
        return int(lost.population // 2)
    return None if limit is None else 1
