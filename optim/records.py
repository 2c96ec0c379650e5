"""What the catalog is made of: frozen records that describe options, optimizers, schedules and warm-ups, without torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Setting: TypeAlias = float | str | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """One hyperparameter: its type, default, valid range and recommended search range.

    `kind` is "float", "int", "bool", "choice" (one of `choices`) or "points" (numbers in the range, each larger than
    the one before, at least one). `low` and `high` bound what is accepted, an end being excluded where `low_open` or
    `high_open` says so. `search_low` and `search_high` are None where searching it is not advised; `scale` is
    "linear", "log" or "reverse_log" and belongs to the search range, which a preset takes over in studies of at least
    `search_from` trials.
    """

    name: str
    kind: str
    default: Setting
    low: float = 0.0
    high: float = 0.0
    low_open: bool = False
    high_open: bool = False
    search_low: float | None = None
    search_high: float | None = None
    scale: str = "linear"
    search_from: int = 0
    choices: tuple[str, ...] = ()
    title: str = ""

    @property
    def range(self) -> str:
        """The valid range in interval notation, such as `[0, 1)`."""
        ends = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"{ends[0]}{self.low:g}, {self.high:g}{ends[1]}"

    def number(self, value: Any) -> float | list[float]:  # noqa: ANN401 - a checked value
        """Return a value as rules get it: switches as 0 or 1, choices as their place in `choices`."""
        return float(self.choices.index(value)) if self.kind == "choice" else value

    def check(self, value: object) -> str | None:
        """Return None if `value` is acceptable, else what is wrong: `must be in [0, 1), got 1.5`."""
        if self.kind == "bool":
            return None if isinstance(value, bool) else f"must be true or false, got {value!r}"
        if self.kind == "choice":
            return None if value in self.choices else f"must be one of {', '.join(self.choices)}, got {value!r}"
        if self.kind == "points":
            return self._check_points(value)
        return self._check_number(value)

    def _check_number(self, value: object) -> str | None:
        if self.kind == "int" and (isinstance(value, bool) or not isinstance(value, int)):
            return f"must be a whole number in {self.range}, got {value!r}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a number in {self.range}, got {value!r}"
        return None if self._contains(value) else f"must be in {self.range}, got {value!r}"

    def _check_points(self, value: object) -> str | None:
        if not isinstance(value, list | tuple) or not value:
            return f"must be a list of numbers in {self.range}, got {value!r}"
        for index, point in enumerate(value):
            wrong = self._check_number(point)
            if wrong is not None:
                return f"[{index}] {wrong}"
            if index and point <= value[index - 1]:
                return f"must rise from point to point, got {point!r} after {value[index - 1]!r}"
        return None

    def _contains(self, value: float) -> bool:
        # Integers may be too large for a float; comparisons with them are exact, so only floats can be NaN.
        if isinstance(value, float) and not math.isfinite(value):
            return False
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below


@dataclass(frozen=True, slots=True)
class OptimizerInfo:
    """One optimizer: its options in order, where its formula comes from, and when to reach for it.

    A `layered` one looks at the layers of a network, and can do nothing for parameters that are in none.
    """

    name: str
    title: str
    options: tuple[Option, ...]
    source: str
    when_to_use: str
    layered: bool = False


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """One schedule of the learning rate; `options` are expressed so that they do not depend on the number of steps."""

    name: str
    title: str
    options: tuple[Option, ...]
    source: str


@dataclass(frozen=True, slots=True)
class WarmupInfo:
    """One shape of the rise from the first step to the base rate."""

    name: str
    title: str
    source: str


def by_name(options: tuple[Option, ...]) -> Mapping[str, Option]:
    """Return the options by their names."""
    return {option.name: option for option in options}
