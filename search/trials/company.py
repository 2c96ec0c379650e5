"""Company: what it is to a trial that it was lost among others, and with how many it may share a trainer after that.

Which of those that were lost together was to blame nobody knows. So it is a strike for none, and each runs in half as
much company the next time, until the one that kills is alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from models import trials, workers
from models.session import Connection, Row
from models.states import AttemptState, TrialState
from search.definition.parse import StudyDefinition
from search.trials.failures import Failure
from search.trials.reporting import Holding, Ran, Result


def companions(connection: Connection, study_id: int, attempts: Mapping[int, int]) -> dict[int, int]:
    """Return the most trials, itself included, that may share a trainer with each of these; who may have any is left out.

    `attempts` names the attempt of each that this holds for. It follows from the earlier ones alone, which have ended:
    whoever asks is answered alike.
    """
    past = trials.past_attempts(connection, study_id, list(attempts))
    limits = {number: _limit(rows, before=attempts[number]) for number, rows in past.items()}
    return {number: limit for number, limit in limits.items() if limit is not None}


def lost_with_workers(
    connection: Connection, study_id: int, definition: StudyDefinition, leases: Sequence[Row[Any]]
) -> list[Result]:
    """Say how trials of a locked study end whose workers fell silent.

    Who was in company may be innocent or may be what kills workers, by their memory perhaps: it is lost as in a lane. Who
    was alone, as every trial of a client is, is charged.
    """
    past = trials.past_attempts(connection, study_id, [lease.number for lease in leases])
    held = workers.count_held(connection, study_id, {lease.worker for lease in leases})
    return [_lost(definition, lease, _company(past[lease.number], lease, held[lease.worker])) for lease in leases]


def _company(past: Sequence[trials.Past], lease: Row[Any], held: int) -> int:
    """Say how many were lost together at most: others may have joined after its claim, or may have gone since."""
    (population,) = (row.population for row in past if row.attempt == lease.attempt)
    if population is None:
        return 1
    # Who is held beyond the limit waits, and was not on the trainer.
    limit = _limit(past, before=lease.attempt)
    most: int = max(population, held)
    return most if limit is None else min(most, limit)


def _lost(definition: StudyDefinition, lease: Row[Any], company: int) -> Result:
    return Result(
        Holding(lease.study_id, lease.number, lease.attempt, lease.token, definition),
        TrialState.QUEUED,
        failure=Failure.LANE if company > 1 else Failure.INFRASTRUCTURE,
        error=f"its worker fell silent; no more than {company} trials were lost together",
        ran=Ran(lane=None, population=company, seconds=0.0, alone=None) if company > 1 else None,
    )


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
