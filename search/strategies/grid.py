"""Grid search: every point once, shuffled, so that the first points of a smaller budget cover the grid evenly."""

from collections.abc import Sequence

from search.definition.planning import plan_of
from search.definition.schema import StudyDefinition
from search.records import Suggestion, TrialRecord
from search.space.points import grid
from search.space.sampling import shuffled


class Grid:
    """Draw index i is point `order(i)` of the grid, by a seeded bijection: nothing is stored, nothing comes twice."""

    reads_history = False
    reads_curves = False

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        self._points = grid(plan_of(definition))
        self._order = shuffled(self._points.count(), seed=seed)

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Do nothing: a grid does not learn."""

    def suggest(self, indices: range) -> list[Suggestion]:
        """Return the points. Raise IndexError beyond the last one."""
        places = [self._order(index) for index in indices]
        return [Suggestion(params=self._points.point(place), origin="grid", grid_index=place) for place in places]
