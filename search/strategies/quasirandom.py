"""Quasi-random search: points that fill the space more evenly than independent ones, whatever their number.

Each parameter has a coordinate of the unit cube, also where its condition does not hold, so that those of the others do
not move. A point depends on the seed and its draw index alone.
"""

from collections.abc import Callable, Sequence

from search.definition.planning import plan_of
from search.definition.schema import StudyDefinition
from search.records import Suggestion, TrialRecord
from search.space.coordinates import point_at
from search.space.halton import HaltonSequence
from search.space.parameters import Point
from search.space.plan import mend
from search.space.sampling import MEND_SALT, Draws
from search.space.sobol import SobolSequence


class _QuasiRandom:
    reads_history = False
    reads_curves = False
    _origin: str
    _sequence: Callable[[int], list[float]]

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        self._plan = plan_of(definition)
        self._seed = seed

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Do nothing: a sequence does not learn."""

    def suggest(self, indices: range) -> list[Suggestion]:
        """Return the points."""
        return [Suggestion(params=self._point(index), origin=self._origin, why={"draw": index}) for index in indices]

    def _point(self, index: int) -> Point:
        """Return the point of the sequence, or where it breaks a constraint, one led into them from it."""
        return mend(self._plan, point_at(self._plan, self._sequence(index)), Draws(self._seed, index, salt=MEND_SALT))


class Sobol(_QuasiRandom):
    """Scrambled Sobol points."""

    _origin = "sobol"

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        super().__init__(definition, seed)
        self._sequence = SobolSequence(len(self._plan.nodes), seed=seed)


class Halton(_QuasiRandom):
    """Halton points with permuted digits."""

    _origin = "halton"

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        super().__init__(definition, seed)
        self._sequence = HaltonSequence(len(self._plan.nodes), seed=seed)
