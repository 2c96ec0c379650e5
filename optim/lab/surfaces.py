"""Surfaces of two parameters on which optimizers are watched. Plain arithmetic, so that numbers and tensors both go in.

A surface is its closed-form value and gradient, where a run begins, when it has arrived, and the part of the plane
worth drawing. No torch here: whoever only needs the names need not load it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

Point: TypeAlias = tuple[float, float]
# A float, or a tensor: the arithmetic is written the same.
Number: TypeAlias = Any

# The learning rates that are tried where none is given: their ends as powers of ten, in quarters of a decade.
GRID_DECADES = (-4.0, 1.0)
GRID_POINTS = 21
# How long a run may be unless told otherwise, and at all. The first is enough for the reference optimizers on the
# reference surfaces, the second for plain gradient descent on Rosenbrock's, which takes 3660 steps.
STEPS = 2000
MOST_STEPS = 5000


@dataclass(frozen=True, slots=True)
class Stop:
    """When a run has arrived: the surface's value is below `value`, or |y| above `escape`; one of the two is given."""

    value: float | None = None
    escape: float | None = None

    def holds(self, y: Number, value: Number) -> Number:
        """Say so for a point, or for each of many."""
        return value < self.value if self.escape is None else abs(y) > self.escape

    @property
    def title(self) -> str:
        """The rule in words."""
        return f"f < {self.value:g}" if self.escape is None else f"|y| > {self.escape:g}"


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the plane that is drawn."""

    left: float
    right: float
    bottom: float
    top: float


@dataclass(frozen=True, slots=True)
class Surface:
    """A function of x and y. `minimum` is None where it has none; `highest_rate` bounds the grid of learning rates."""

    name: str
    title: str
    formula: str
    value: Callable[[Number, Number], Number]
    gradient: Callable[[Number, Number], tuple[Number, Number]]
    start: Point
    minimum: Point | None
    stop: Stop
    window: Window
    source: str
    highest_rate: float = 10.0

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates tried when none is given, from the lowest up."""
        first, last = GRID_DECADES
        step = (last - first) / (GRID_POINTS - 1)
        grid = (10.0 ** (first + index * step) for index in range(GRID_POINTS))
        return tuple(rate for rate in grid if rate <= self.highest_rate * (1 + 1e-12))


def _quadratic(x: Number, y: Number) -> Number:
    return 0.5 * (x * x + 100.0 * y * y)


def _quadratic_gradient(x: Number, y: Number) -> tuple[Number, Number]:
    return x, 100.0 * y


_COSINE = _SINE = math.sqrt(0.5)  # of 45 degrees


def _turned(x: Number, y: Number) -> tuple[Number, Number]:
    """Turn a point by 45 degrees."""
    return _COSINE * x - _SINE * y, _SINE * x + _COSINE * y


def _turned_back(x: Number, y: Number) -> tuple[Number, Number]:
    return _COSINE * x + _SINE * y, _COSINE * y - _SINE * x


def _rotated(x: Number, y: Number) -> Number:
    return _quadratic(*_turned_back(x, y))


def _rotated_gradient(x: Number, y: Number) -> tuple[Number, Number]:
    return _turned(*_quadratic_gradient(*_turned_back(x, y)))


def _beale_terms(x: Number, y: Number) -> tuple[Number, Number, Number]:
    return 1.5 - x + x * y, 2.25 - x + x * y * y, 2.625 - x + x * y * y * y


def _beale(x: Number, y: Number) -> Number:
    first, second, third = _beale_terms(x, y)
    return first * first + second * second + third * third


def _beale_gradient(x: Number, y: Number) -> tuple[Number, Number]:
    first, second, third = _beale_terms(x, y)
    return (
        2.0 * (first * (y - 1.0) + second * (y * y - 1.0) + third * (y * y * y - 1.0)),
        2.0 * x * (first + second * 2.0 * y + third * 3.0 * y * y),
    )


def _rosenbrock(x: Number, y: Number) -> Number:
    across, along = y - x * x, 1.0 - x
    return along * along + 100.0 * across * across


def _rosenbrock_gradient(x: Number, y: Number) -> tuple[Number, Number]:
    across = y - x * x
    return -2.0 * (1.0 - x) - 400.0 * x * across, 200.0 * across


def _saddle(x: Number, y: Number) -> Number:
    return x * x - y * y


def _saddle_gradient(x: Number, y: Number) -> tuple[Number, Number]:
    return 2.0 * x, -2.0 * y


_ALL = (
    Surface(
        name="quadratic",
        title="Quadratic, condition number 100",
        formula="(x² + 100 y²) / 2",
        value=_quadratic,
        gradient=_quadratic_gradient,
        start=(3.0, 1.0),
        minimum=(0.0, 0.0),
        stop=Stop(value=1e-6),
        window=Window(-1.5, 3.5, -1.5, 1.5),
        source="Its axes are those of the parameters, which flatters methods that scale each by itself",
    ),
    Surface(
        name="rotated-quadratic",
        title="Quadratic, condition number 100, turned by 45 degrees",
        formula="(u² + 100 v²) / 2 with u = (x + y) / √2, v = (y - x) / √2",
        value=_rotated,
        gradient=_rotated_gradient,
        start=_turned(3.0, 1.0),
        minimum=(0.0, 0.0),
        stop=Stop(value=1e-6),
        window=Window(-1.5, 3.5, -1.5, 3.5),
        source="The quadratic, its start turned with it: no parameter has a scale of its own",
    ),
    Surface(
        name="beale",
        title="Beale's function",
        formula="(1.5 - x + x y)² + (2.25 - x + x y²)² + (2.625 - x + x y³)²",
        value=_beale,
        gradient=_beale_gradient,
        start=(1.0, 1.0),
        minimum=(3.0, 0.5),
        stop=Stop(value=1e-3),
        window=Window(-0.5, 4.5, -1.5, 1.75),
        source="Beale, On an iterative method for finding a local minimum of a function, 1958",
    ),
    Surface(
        name="rosenbrock",
        title="Rosenbrock's function",
        formula="(1 - x)² + 100 (y - x²)²",
        value=_rosenbrock,
        gradient=_rosenbrock_gradient,
        start=(-1.2, 1.0),
        minimum=(1.0, 1.0),
        stop=Stop(value=1e-3),
        window=Window(-2.0, 2.0, -1.0, 3.0),
        source="Rosenbrock, An automatic method for finding the greatest or least value of a function, 1960",
    ),
    Surface(
        name="saddle",
        title="Saddle",
        formula="x² - y²",
        value=_saddle,
        gradient=_saddle_gradient,
        start=(1.0, 1e-6),
        minimum=None,
        stop=Stop(escape=1.0),
        window=Window(-1.5, 1.5, -1.5, 1.5),
        source="The start is a millionth off the ridge: the run measures how soon a rule leaves it",
        highest_rate=0.01,
    ),
)

SURFACES: Mapping[str, Surface] = MappingProxyType({surface.name: surface for surface in _ALL})


def surface_of(name: str) -> Surface:
    """Return the surface called `name`. Raise ValueError listing the valid names if there is none."""
    if name not in SURFACES:
        raise ValueError(f"unknown surface {name!r}; valid: {', '.join(SURFACES)}")
    return SURFACES[name]
