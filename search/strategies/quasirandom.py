"""Quasi-random search: points that fill the space more evenly than independent ones, whatever their number.

Each parameter has a coordinate of the unit cube, also where its condition does not hold, so that those of the others do
not move. A point depends on the seed and its draw index alone.
"""

from collections.abc import Callable, Sequence

from search.definition.schema import StudyDefinition
from search.records import Suggestion, TrialRecord
from search.space.coordinates import point_at
from search.space.halton import HaltonSequence
from search.space.plan import plan
from search.space.sobol import SobolSequence


class _QuasiRandom:
    reads_history = False
    _origin: str
    _sequence: Callable[[int], list[float]]

    def __init__(self, definition: StudyDefinition) -> None:
        self._plan = plan(definition.space)

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Do nothing: a sequence does not learn."""

    def suggest(self, indices: range) -> list[Suggestion]:
        """Return the points."""
        return [
            Suggestion(params=point_at(self._plan, self._sequence(index)), origin=self._origin, why={"draw": index})
            for index in indices
        ]


class Sobol(_QuasiRandom):
    """Scrambled Sobol points."""

    _origin = "sobol"

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        super().__init__(definition)
        self._sequence = SobolSequence(len(self._plan.nodes), seed=seed)


class Halton(_QuasiRandom):
    """Halton points with permuted digits."""

    _origin = "halton"

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        super().__init__(definition)
        self._sequence = HaltonSequence(len(self._plan.nodes), seed=seed)
