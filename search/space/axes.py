"""The points of a parameter: all its values, those a grid takes, and how one is drawn."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from search.space.parameters import (
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Searched,
    Value,
    identity,
    is_number,
    is_whole,
)
from search.space.ranges import decimal, lattice_index
from search.space.sampling import Draws
from search.space.scales import WARPS, between


@dataclass(frozen=True, slots=True)
class Axis:
    """The points of a parameter in order: how many, the k-th (k < size), and the place of a value or None."""

    size: int
    at: Callable[[int], Value]
    place: Callable[[Value], int | None]


def lattice(parameter: Searched) -> Axis | None:
    """Return every value a parameter can take, or None if it is continuous."""
    if isinstance(parameter, CategoricalParameter):
        return listed(parameter.choices)
    if parameter.low == parameter.high:
        return listed((parameter.low,))
    if isinstance(parameter, IntParameter):
        values = range(parameter.low, parameter.high + 1, parameter.step or 1)
        return Axis(
            size=len(values),
            at=values.__getitem__,
            place=lambda value: values.index(value) if is_whole(value) and value in values else None,  # type: ignore[arg-type]
        )
    return None if parameter.step is None else _stepped(parameter.low, parameter.high, parameter.step)


def _stepped(low: float, high: float, step: float) -> Axis:
    first, stride = decimal(low), decimal(step)
    size = int((decimal(high) - first) / stride) + 1

    def place(value: Value) -> int | None:
        index = lattice_index(value, low, step) if is_number(value) else None
        return index if index is not None and 0 <= index < size else None

    return Axis(size=size, at=lambda index: float(first + index * stride), place=place)


def listed(values: tuple[Value, ...]) -> Axis:
    """Return the axis of a list of distinct values."""
    places = {identity(value): index for index, value in enumerate(values)}
    return Axis(size=len(values), at=values.__getitem__, place=lambda value: places.get(identity(value)))


def grid_axis(parameter: Searched) -> Axis | None:
    """Return the points a grid takes from a parameter: its levels if it has any, else its lattice, else None."""
    if isinstance(parameter, CategoricalParameter):
        return lattice(parameter)
    levels = parameter.choices if parameter.levels is None else parameter.levels
    if levels is None:
        return lattice(parameter)
    if not isinstance(levels, int):
        return listed(tuple(map(_number_of(parameter), levels)))
    return listed(_spread(parameter, levels))


def _number_of(parameter: FloatParameter | IntParameter) -> Callable[[float], float]:
    return int if isinstance(parameter, IntParameter) else float


def _spread(parameter: FloatParameter | IntParameter, count: int) -> tuple[Value, ...]:
    """Spread `count` points evenly over the scale, both ends included; on a lattice fewer if it has fewer."""
    if count == 1 and parameter.default is not None:
        return (parameter.default,)
    shares = [0.5] if count == 1 else [index / (count - 1) for index in range(count)]
    axis, number = lattice(parameter), _number_of(parameter)
    if axis is None:
        return tuple(
            dict.fromkeys(number(between(parameter.scale, parameter.low, parameter.high, share)) for share in shares)
        )
    if parameter.scale == "linear":
        return tuple(dict.fromkeys(axis.at(round(share * (axis.size - 1))) for share in shares))
    return tuple(
        dict.fromkeys(round(between(parameter.scale, parameter.low, parameter.high, share)) for share in shares)
    )


def drawer(parameter: Searched) -> Callable[[Draws], Value]:
    """Return the function that draws a value, uniform on the parameter's scale."""
    if isinstance(parameter, IntParameter) and parameter.scale == "log":
        return _log_int_drawer(parameter.low, parameter.high)
    axis = lattice(parameter)
    if axis is not None:
        at, size = axis.at, axis.size
        return lambda draws: at(draws.below(size))
    if isinstance(parameter, CategoricalParameter):  # pragma: no cover - a categorical always has a lattice
        raise TypeError("a categorical parameter has a lattice")
    low, high = parameter.low, parameter.high
    onto, back = WARPS[parameter.scale]
    start, end = onto(low), onto(high)

    def draw(draws: Draws) -> Value:
        share = draws.uniform()
        return min(max(back(start * (1 - share) + end * share), low), high)

    return draw


def _log_int_drawer(low: int, high: int) -> Callable[[Draws], Value]:
    """Each whole number gets the log-length of the unit around it."""
    start, end = math.log(low - 0.5), math.log(high + 0.5)
    return lambda draws: min(max(round(math.exp(start + (end - start) * draws.uniform())), low), high)


def draw_between(parameter: FloatParameter | IntParameter, low: float, high: float, draws: Draws) -> Value:
    """Draw a value of the parameter's from [low, high], uniform on its scale. Raise ValueError if there is none."""
    low, high = max(low, parameter.low), min(high, parameter.high)
    axis = lattice(parameter)
    if axis is None:
        if low > high:
            raise ValueError("the range is empty")
        return between(parameter.scale, low, high, draws.uniform())
    places, number = range(axis.size), cast("Callable[[int], float]", axis.at)
    first, last = bisect_left(places, low, key=number), bisect_right(places, high, key=number) - 1
    if first > last:
        raise ValueError("the range holds no value")
    if isinstance(parameter, IntParameter) and parameter.scale == "log":
        return _log_int_drawer(int(number(first)), int(number(last)))(draws)
    return axis.at(first + draws.below(last - first + 1))
