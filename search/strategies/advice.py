"""What the catalog recommends for the optimizers of a recipe, as a search may use it.

A range that is wider than the recommended one is searched inside of that first: points outside are thought less of, the
farther they lie, until results say otherwise (`bonus`, whose weight fades; C. Hvarfner et al., "piBO", 2022), and of four
of the first points three are drawn inside.

Few trials are for few parameters (V. Godbole et al., "Deep learning tuning playbook", 2023): what the catalog would not
search in a study of so many trials stays at its default, where it has one in its range.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from optim.catalog import COMMON, OPTIMIZERS, Option
from search.definition.kinds import RecipeObjective
from search.definition.schema import StudyDefinition
from search.space.axes import lattice
from search.space.parameters import CategoricalParameter, DerivedParameter, FixedParameter, Searched, Value, identity
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
    for name, column, code, chooser in _chosen(definition, columns):
        options = {option.name: option for option in (*OPTIMIZERS[name].options, *COMMON.values())}
        for place, each in enumerate(columns.all):
            bounds = _bounds(each, options.get(each.name))
            if bounds is not None:
                found.append(_Range(place, *bounds, chooser=chooser, code=code))
        del column
    return found


def _chosen(definition: StudyDefinition, columns: Columns) -> list[tuple[str, Value, float, int | None]]:
    """Return the optimizers that a recipe's study may choose: name, value, its code in its column, and that column."""
    objective = definition.objective
    if not isinstance(objective, RecipeObjective):
        return []
    parameter = definition.space.get("optimizer")
    if not isinstance(parameter, CategoricalParameter):
        name = objective.optimizer
        return [] if name is None else [(name, name, 0.0, None)]
    place = columns.place.get("optimizer")
    return [
        (str(choice), choice, float(code), place)
        for code, choice in enumerate(parameter.choices)
        if str(choice) in OPTIMIZERS
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


def held(definition: StudyDefinition) -> Mapping[str, Value]:
    """Return the parameters that a study of so few trials does not search, with the values that they keep."""
    objective = definition.objective
    if not isinstance(objective, RecipeObjective):
        return {}
    names = {str(choice) for choice in _names(definition)} | ({objective.optimizer} if objective.optimizer else set())
    kept: dict[str, Value] = {}
    for name, parameter in definition.space.items():
        if isinstance(parameter, FixedParameter | DerivedParameter):
            continue
        options = [o for each in names if each in OPTIMIZERS for o in OPTIMIZERS[each].options if o.name == name]
        options += [COMMON[name]] if name in COMMON else []
        if options and all(option.search_from > definition.trials for option in options):
            value = _default(parameter, options[0])
            if value is not None:
                kept[name] = value
    return kept


def _names(definition: StudyDefinition) -> tuple[Value, ...]:
    parameter = definition.space.get("optimizer")
    return parameter.choices if isinstance(parameter, CategoricalParameter) else ()


def _default(parameter: Searched, option: Option) -> Value:
    value = parameter.default if parameter.default is not None else option.default
    if isinstance(value, tuple):
        return None
    if isinstance(parameter, CategoricalParameter):
        return value if identity(value) in set(map(identity, parameter.choices)) else None
    inside = isinstance(value, int | float) and parameter.low <= value <= parameter.high
    axis = lattice(parameter)
    return value if inside and (axis is None or axis.place(value) is not None) else None
