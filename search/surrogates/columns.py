"""A space as the columns of a matrix, which is what models of scores want.

A row is a point. A column of a number holds its place on the parameter's scale, 0 (low) to 1 (high); values on a lattice
sit in the middle of cells of equal width. Choices that are all numbers are such a lattice too, in rising order; other
choices are counted from 0 and only ever compared for equality. A parameter that is inactive is NaN; one with a single
value has no column.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from search.space.axes import Axis, lattice, listed
from search.space.coordinates import share_of
from search.space.nodes import Node
from search.space.parameters import (
    CategoricalParameter,
    IntParameter,
    Point,
    Searched,
    Value,
    is_number,
)
from search.space.plan import Plan, fill
from search.space.scales import between

Matrix: TypeAlias = NDArray[np.float64]

_FINEST = 256  # a lattice of more cells is searched as if it were continuous


@dataclass(frozen=True, slots=True)
class Column:
    """A searched parameter. `cells` is the size of its lattice or list, 0 where it is continuous.

    `encode` gives None for what is no value of it; `decode` takes any number from 0 to 1, or the place of a choice.
    """

    name: str
    parameter: Searched
    choice: bool
    cells: int
    encode: Callable[[Value], float | None]
    decode: Callable[[float], Value]

    @property
    def smooth(self) -> bool:
        """Whether it is searched as a continuous number, rounded at the end."""
        return not self.choice and not 0 < self.cells <= _FINEST


def column(name: str, parameter: Searched) -> Column | None:
    """Make the column of a parameter; None if it has one value."""
    axis = lattice(parameter)
    if axis is not None and axis.size == 1:
        return None
    if isinstance(parameter, CategoricalParameter):
        if not all(map(is_number, parameter.choices)):
            place = listed(parameter.choices)
            return Column(name, parameter, True, place.size, place.place, lambda x: place.at(int(x)))
        ordered = listed(tuple(sorted(parameter.choices, key=float)))  # type: ignore[arg-type]
        return Column(name, parameter, False, ordered.size, partial(_middle, ordered), partial(_nth, ordered))
    encode = partial(share_of, parameter)
    if isinstance(parameter, IntParameter) and parameter.scale == "log":
        # Its cells differ in width, so it counts as continuous; a value is its own after rounding.
        return Column(name, parameter, False, 0, encode, partial(_whole, parameter))
    if axis is not None:
        return Column(name, parameter, False, axis.size, encode, partial(_nth, axis))
    return Column(name, parameter, False, 0, encode, partial(between, parameter.scale, parameter.low, parameter.high))


def _middle(axis: Axis, value: Value) -> float | None:
    place = axis.place(value)
    return None if place is None else (place + 0.5) / axis.size


def _nth(axis: Axis, share: float) -> Value:
    return axis.at(min(int(share * axis.size), axis.size - 1))


def _whole(parameter: IntParameter, share: float) -> Value:
    low, high = math.log(parameter.low - 0.5), math.log(parameter.high + 0.5)
    return min(max(round(math.exp(low + (high - low) * share)), parameter.low), parameter.high)


@dataclass(frozen=True, slots=True)
class _Condition:
    """Column `child` is active only where the value of `parent` has one of these `codes`."""

    child: int
    parent: int
    codes: Matrix


class Columns:
    """The columns of a plan, parents before their children."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        made = [column(node.name, node.parameter) for node in plan.nodes]
        self.all: tuple[Column, ...] = tuple(each for each in made if each is not None)
        self.place = {each.name: index for index, each in enumerate(self.all)}
        self.choices = np.array([each.choice for each in self.all], dtype=bool)
        self.cells = np.array([each.cells for each in self.all], dtype=np.float64)
        self.smooth = np.array([each.smooth for each in self.all], dtype=bool)
        self._conditions = tuple(self._read_conditions(plan.nodes))

    def __len__(self) -> int:
        return len(self.all)

    def encode(self, params: Mapping[str, Any]) -> Matrix | None:
        """Return the row of a point, shape (columns,); None if one of its values lies outside the space."""
        row = np.full(len(self.all), np.nan)
        for name, value in params.items():
            if name in self.place:
                number = self.all[self.place[name]].encode(value)
                if number is None:
                    return None
                row[self.place[name]] = number
        return row

    def decode(self, row: Matrix) -> Point:
        """Return the point of a row; what is inactive in it is not looked at."""

        def choose(node: Node) -> Value:
            if node.name not in self.place:
                return _only(node.parameter)
            index = self.place[node.name]
            return self.all[index].decode(float(row[index]))

        return fill(self.plan, choose)

    def draw(self, rng: np.random.Generator, count: int) -> Matrix:
        """Draw points, each parameter uniform on its scale; shape (count, columns)."""
        return self.settle(self.spread(rng.random((count, len(self.all)))))

    def spread(self, shares: Matrix) -> Matrix:
        """Turn shares of [0, 1) into values of the columns: choices into their places, the rest as it is."""
        return np.where(self.choices, np.floor(shares * np.maximum(self.cells, 1)), shares)

    def settle(self, rows: Matrix) -> Matrix:
        """Move rows to points: numbers into range and to the middles of their cells, inactive ones to NaN."""
        rows = np.where(self.choices, rows, np.clip(rows, 0.0, 1.0))
        fine = ~self.choices & (self.cells > 0)
        if fine.any():
            cells = self.cells[fine]
            rows[:, fine] = (np.minimum(np.floor(rows[:, fine] * cells), cells - 1) + 0.5) / cells
        for condition in self._conditions:
            code = self._code(condition.parent, rows[:, condition.parent])
            rows[~np.isin(code, condition.codes), condition.child] = np.nan
        return rows

    def _code(self, index: int, values: Matrix) -> Matrix:
        """Return whole numbers that tell the values of a column with countably many apart; NaN stays."""
        each = self.all[index]
        if each.choice:
            return values
        if each.cells:
            return np.floor(values * each.cells)
        # A log int: small, or a condition on it would not have been written.
        return np.array([np.nan if np.isnan(value) else float(each.decode(value)) for value in values])  # type: ignore[arg-type]

    def _read_conditions(self, nodes: Sequence[Node]) -> list[_Condition]:
        found = []
        for node in nodes:
            for parent, values in (node.parameter.when or {}).items():
                if node.name in self.place and parent in self.place:
                    index = self.place[parent]
                    codes = [self.all[index].encode(value) for value in values]
                    known = np.array([code for code in codes if code is not None], dtype=np.float64)
                    found.append(_Condition(self.place[node.name], index, self._code(index, known)))
        return found


def _only(parameter: Searched) -> Value:
    axis = lattice(parameter)
    if axis is None:  # pragma: no cover - a continuous parameter has a column
        raise TypeError("a continuous parameter has no single value")
    return axis.at(0)
