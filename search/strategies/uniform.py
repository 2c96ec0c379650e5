"""Random search: independent points, each parameter uniform on its scale (Bergstra and Bengio, 2012)."""

from collections.abc import Sequence

from search.definition.planning import plan_of
from search.definition.schema import StudyDefinition
from search.records import Suggestion, TrialRecord
from search.space.plan import draw
from search.space.sampling import Draws


class Uniform:
    """Each point depends on the seed and its draw index alone, so any worker derives the same one."""

    reads_history = False
    reads_curves = False

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        self._plan = plan_of(definition)
        self._seed = seed

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Do nothing: independent points do not learn."""

    def suggest(self, indices: range) -> list[Suggestion]:
        """Return the points."""
        return [
            Suggestion(params=draw(self._plan, Draws(self._seed, index)), origin="random", why={"draw": index})
            for index in indices
        ]
