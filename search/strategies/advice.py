"""What the catalog recommends for the optimizers of a recipe, as a search may use it.

A range that is wider than the recommended one is searched inside of that first: points outside are thought less of, the
farther they lie, until results say otherwise (`bonus`, whose weight fades; C. Hvarfner et al., "piBO", 2022), and of four
of the first points three are drawn inside.
"""

from dataclasses import dataclass

import numpy as np

from optim.catalog import COMMON, TRAINERS, Option
from search.definition.kinds import RecipeObjective
from search.definition.schema import StudyDefinition
from search.space.axes import lattice
from search.space.parameters import CategoricalParameter, FixedParameter, Searched, Value
from search.surrogates.columns import Column, Columns, Matrix

_SLACK = 0.15  # of a column's length: so far outside a point is thought less of by half a unit


@dataclass(frozen=True, slots=True)
class _Range:
    """From `low` to `high` (0 to 1) of a column, where `chooser` (a column, None = everywhere) has this `code`."""

    column: int
    low: float
    high: float
    chooser: int | None
    code: float

    def holds(self, rows: Matrix) -> Matrix:
        """Return where it is the range that counts."""
        active = ~np.isnan(rows[:, self.column])
        return active if self.chooser is None else active & (rows[:, self.chooser] == self.code)


class Advice:
    """Recommended ranges over the columns of a study's space."""

    def __init__(self, definition: StudyDefinition, columns: Columns) -> None:
        self._ranges = tuple(_ranges(definition, columns))

    def bonus(self, rows: Matrix) -> Matrix:
        """Return what is thought of rows beforehand: 0 inside all ranges, less outside; shape (n,)."""
        total = np.zeros(len(rows))
        for each in self._ranges:
            values = rows[:, each.column]
            outside = np.maximum(np.maximum(each.low - values, values - each.high), 0.0)
            total -= np.where(each.holds(rows), 0.5 * (outside / _SLACK) ** 2, 0.0)
        return total

    def inside(self, row: Matrix) -> Matrix:
        """Return a row with its numbers pressed into the recommended ranges, those in the middle into their middles."""
        moved = row.copy()
        for each in self._ranges:
            if each.holds(row[None, :])[0]:
                moved[each.column] = each.low + row[each.column] * (each.high - each.low)
        return moved


def _ranges(definition: StudyDefinition, columns: Columns) -> list[_Range]:
    found = []
    for name, code, chooser in _chosen(definition, columns):
        options = {option.name: option for option in (*TRAINERS[name].options, *COMMON.values())}
        for place, each in enumerate(columns.all):
            bounds = _bounds(each, options.get(each.name))
            if bounds is not None:
                found.append(_Range(place, *bounds, chooser=chooser, code=code))
    return found


def _chosen(definition: StudyDefinition, columns: Columns) -> list[tuple[str, float, int | None]]:
    """Return the optimizers that a recipe's study may choose: name, its code in its column, and that column."""
    objective = definition.objective
    if not isinstance(objective, RecipeObjective):
        return []
    parameter = definition.space.get("optimizer")
    if not isinstance(parameter, CategoricalParameter):
        name = parameter.value if isinstance(parameter, FixedParameter) else objective.settled_optimizer
        return [(str(name), 0.0, None)] if str(name) in TRAINERS else []
    place = columns.place.get("optimizer")
    return [
        (str(choice), float(code), place) for code, choice in enumerate(parameter.choices) if str(choice) in TRAINERS
    ]


def _bounds(column: Column, option: Option | None) -> tuple[float, float] | None:
    """Return where a recommended range lies in a column; None if there is none or it holds all of it."""
    if option is None or option.search_low is None or option.search_high is None or column.choice:
        return None
    parameter = column.parameter
    if isinstance(parameter, CategoricalParameter):
        return None
    low = column.encode(_within(parameter, option.search_low))
    high = column.encode(_within(parameter, option.search_high))
    if low is None or high is None or high <= low or (low <= 0.0 and high >= 1.0):
        return None
    return low, high


def _within(parameter: Searched, value: float) -> Value:
    """Return the value of a number's range that is nearest to one recommended."""
    if isinstance(parameter, CategoricalParameter):
        raise TypeError("a categorical parameter has no range")
    clipped = min(max(value, parameter.low), parameter.high)
    axis = lattice(parameter)
    if axis is None or axis.place(clipped) is not None:
        return clipped
    return axis.at(round((clipped - parameter.low) / (parameter.step or 1)))
