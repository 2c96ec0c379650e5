"""Decimals as whole numbers, so that sums of them are exact and quick: values and factors each on one common scale."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import overload

from search.space.axes import Axis
from search.space.constraints import Constraint, exact
from search.space.nodes import Node

MOST_LISTED = 1000  # longer axes are lattices, which rise by themselves


@dataclass(frozen=True, slots=True)
class Ruler:
    """By how much values and factors are multiplied to be whole, and limits by both.

    What lies between the marks nevertheless (a limit, or a step's value beyond a float's digits) stays an exact fraction.
    """

    value_scale: int
    factor_scale: int

    def value(self, number: float) -> int:
        """Return a value on the scale."""
        return _whole(exact(number) * self.value_scale)

    def factor(self, number: float) -> int:
        """Return a coefficient on the scale."""
        return int(exact(number) * self.factor_scale)

    def limits(self, constraint: Constraint) -> tuple[int | None, int | None]:
        """Return the least and the largest sum of products that a constraint allows."""
        low, high = constraint.limits
        scale = self.value_scale * self.factor_scale
        return None if low is None else _whole(low * scale), None if high is None else _whole(high * scale)


class Measured(Sequence[int]):
    """The numbers of an axis on a ruler's scale, each made when it is asked for."""

    def __init__(self, axis: Axis, ruler: Ruler) -> None:
        self._axis = axis
        self._ruler = ruler

    def __len__(self) -> int:
        return self._axis.size

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[int]: ...
    def __getitem__(self, place: int | slice) -> int | Sequence[int]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        within = range(self._axis.size)[place]
        return self._ruler.value(self._axis.at(within))  # type: ignore[arg-type]


def make_ruler(axes: Iterable[tuple[Node, Axis]], constraints: Sequence[Constraint]) -> Ruler:
    """Make the ruler for the axes whose parameters some constraint names."""
    named = {name for constraint in constraints for name in constraint.terms}
    values = [exact(axis.at(place)) for node, axis in axes if node.name in named for place in _telling(axis)]  # type: ignore[arg-type]
    factors = [exact(factor) for constraint in constraints for factor in constraint.terms.values()]
    return Ruler(_common(values), _common(factors))


def _telling(axis: Axis) -> Iterable[int]:
    """Return the places that show an axis's denominators: all, or of a long lattice the first two."""
    return range(axis.size) if axis.size <= MOST_LISTED else (0, 1)


def _whole(number: Fraction) -> int:
    return number.numerator if number.denominator == 1 else number  # type: ignore[return-value]


def _common(numbers: Iterable[Fraction]) -> int:
    return math.lcm(*(number.denominator for number in numbers))
