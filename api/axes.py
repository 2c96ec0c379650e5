"""An axis of a picture: where a value lies on it, and which round values are marked."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

# More than two decades of positive values are shown by their order of magnitude.
LOG_DECADES = 2.0
_LARGEST = sys.float_info.max
# Below this a span is too small to divide by, or to have a step of its own.
_SMALLEST = 1e-300
_ROUND = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Tick:
    """A marked value and what is written beside it."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis spans, `low` < `high`; on a logarithmic one both are positive."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return where `value` lies: 0 at `low`, 1 at `high`."""
        low, high, at = (math.log10(v) if self.log else v / 2 for v in (self.low, self.high, value))
        return (at - low) / (high - low)

    def ticks(self, most: int = 6) -> list[Tick]:
        """Return at most about `most` round values inside the axis, the lowest first."""
        return _decades(self.low, self.high, most) if self.log else _round_values(self.low, self.high, most)


def value_axis(values: Sequence[float]) -> Axis:
    """Span finite values with a little room at both ends; logarithmic where they are positive over two decades."""
    if not values:
        return Axis(0.0, 1.0)
    low, high = min(values), max(values)
    if low > 0 and math.log10(high) - math.log10(low) > LOG_DECADES:
        return Axis(low, high, log=True)
    half = high / 2 - low / 2
    # A lone value stands in a span of its own size; values that all but agree still get ticks they can be told by.
    room = max(0.04 * half if half else 0.1 * abs(high), 1e-9 * max(abs(low), abs(high)), _SMALLEST)
    return Axis(max(low - room, -_LARGEST), min(high + room, _LARGEST))


def number_axis(numbers: Sequence[int]) -> Axis:
    """Span trial numbers, each a whole unit wide."""
    return Axis(min(numbers) - 0.5, max(numbers) + 0.5) if numbers else Axis(-0.5, 9.5)


def whole_ticks(axis: Axis, most: int) -> list[Tick]:
    """Return round whole numbers inside a linear axis."""
    step = max(1, round(_step(axis.low, axis.high, most)))
    first = math.ceil(axis.low / step)
    return [Tick(k * step, f"{k * step:,}") for k in range(first, math.floor(axis.high / step) + 1)]


def _step(low: float, high: float, most: int) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that divides the span into at most `most` parts."""
    rough = max(high / most - low / most, _SMALLEST)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor for factor in _ROUND if factor * power >= rough * (1 - 1e-9)) * power


def _round_values(low: float, high: float, most: int) -> list[Tick]:
    step = _step(low, high, most)
    first, last = math.ceil(low / step), math.floor(high / step)
    values = [k * step for k in range(first, last + 1)]
    return [Tick(value, label(value, step)) for value in values if math.isfinite(value)]


def _decades(low: float, high: float, most: int) -> list[Tick]:
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    stride = max(1, math.ceil((last - first + 1) / most))
    exponents = range(first, last + 1, stride)
    return [Tick(float(f"1e{e}"), f"{10.0**e:g}" if -4 <= e <= 5 else f"1e{e}") for e in exponents]


def label(value: float, step: float) -> str:
    """Write `value` with as many digits as tell it from its neighbours `step` away."""
    if value == 0:
        return "0"
    size, fine = math.floor(math.log10(abs(value))), math.floor(math.log10(step))
    if fine >= -4 and size < 7:
        return f"{value:.{max(0, -fine)}f}"
    return f"{value:.{min(16, max(0, size - fine))}e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
