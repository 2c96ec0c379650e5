"""A space as the unit cube: each parameter has a coordinate, along which its values lie as random draws spread them."""

import math
from collections.abc import Sequence

from search.space.axes import lattice
from search.space.parameters import CategoricalParameter, IntParameter, Point, Searched, Value, is_number
from search.space.plan import Plan, fill
from search.space.sampling import Draws
from search.space.scales import share


class Given(Draws):
    """A draw that is made already: what lies at `share` (0 <= share < 1) of all that could be drawn."""

    __slots__ = ("_share",)

    def __init__(self, share: float) -> None:
        super().__init__(0, 0)
        self._share = share

    def uniform(self) -> float:
        """Return the share."""
        return self._share

    def below(self, size: int) -> int:
        """Return the whole number that has this share in its part of the range."""
        return min(int(self._share * size), size - 1)


def point_at(plan: Plan, shares: Sequence[float]) -> Point:
    """Return the point at these coordinates: one for each parameter in order, whether or not its condition holds."""
    where = {node.name: Given(share) for node, share in zip(plan.nodes, shares, strict=True)}
    return fill(plan, lambda node: node.draw(where[node.name]))


def share_of(parameter: Searched, value: Value) -> float | None:
    """Return the coordinate of a value, the middle of those that all give it; None for what it cannot take."""
    axis = lattice(parameter)
    place = axis.place(value) if axis is not None else None
    if isinstance(parameter, IntParameter) and parameter.scale == "log" and parameter.low < parameter.high:
        # As they are drawn: each whole number has the length of the unit around it.
        start, end = math.log(parameter.low - 0.5), math.log(parameter.high + 0.5)
        return None if place is None else (math.log(parameter.low + place) - start) / (end - start)
    if axis is not None:
        return None if place is None else (place + 0.5) / axis.size
    if isinstance(parameter, CategoricalParameter) or not is_number(value):
        return None
    if not parameter.low <= value <= parameter.high:
        return None
    return share(parameter.scale, parameter.low, parameter.high, value)
