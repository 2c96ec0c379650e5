"""What a trial goes on from: checkpoints of its own earlier attempts, or of its parent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models import checkpoints, trials
from models.session import Connection, Row
from search.definition.searches import PbtSearch

_ANY_ATTEMPT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file that an earlier attempt had written whole, and the values the trial had by then."""

    step: int
    path: str
    sha256: str
    values: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Leg:
    """The part of a lineage that a trial trains, from step `begins` to step `ends`, and its parent's checkpoints there.

    Their values are the parent's and not its own, and left out.
    """

    parent: int | None
    begins: int
    ends: int
    checkpoints: tuple[Checkpoint, ...] = ()


def resumable(connection: Connection, study_id: int, attempts: Mapping[int, int]) -> dict[int, tuple[Checkpoint, ...]]:
    """Return what trials that run again (number -> attempt) may go on from."""
    kept = checkpoints.checkpoints_of(connection, study_id, attempts)
    return {
        number: tuple(Checkpoint(row.step, row.path, row.sha256, row.values) for row in rows)
        for number, rows in kept.items()
    }


def legs(connection: Connection, study_id: int, search: PbtSearch, numbers: Sequence[int]) -> dict[int, Leg]:
    """Return the legs of these trials by number."""
    rows = trials.numbered(connection, study_id, numbers)
    parents = {row.parent: _ANY_ATTEMPT for row in rows.values() if row.parent is not None}
    kept = checkpoints.checkpoints_of(connection, study_id, parents)
    return {number: _leg(search, row, kept.get(row.parent, ())) for number, row in rows.items()}


def _leg(search: PbtSearch, trial: Row[Any], kept: Iterable[Row[Any]]) -> Leg:
    begins, ends = trial.why.get("begins", 0), trial.why.get("ends", search.interval)
    found = tuple(Checkpoint(row.step, row.path, row.sha256, None) for row in kept if row.step == begins)
    return Leg(trial.parent, begins, ends, found)
