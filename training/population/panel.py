"""The monitors of all members of a lane at once, as arrays: what `Gauges` does for one run, done for P in one pass.

`training.monitors` says what is watched and why; a test holds the two together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from training.compiled.smoothing import follow
from training.course import explosion_limit
from training.monitors import Gauges
from training.state import State

Floats: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]

# The numbers of `Gauges` that every step moves, and those that the epoch sums.
_STEPPED = ("smooth", "weight", "over", "since_low", "lowest")
_SUMMED = ("grad_norm", "update_ratio", "reach", "samples")
_COUNTS = ("over", "since_low", "samples")


@dataclass(frozen=True, slots=True)
class Broken:
    """A member whose loss is no number, or has run away, in the `step`-th step taken, counted from 0."""

    place: int
    step: int
    loss: float
    gauges: Gauges


class Panel:
    """Readings of P members, in the order of the lane; `total` is the sum of the losses of each one's epoch so far."""

    def __init__(self, states: Sequence[State]) -> None:
        """Read where the members stand."""
        self._gauges = [state.gauges for state in states]
        self._limit = np.array([explosion_limit(state) for state in states])
        self._stepped = {name: _column(self._gauges, name) for name in _STEPPED}
        self._summed = {name: _column(self._gauges, name) for name in _SUMMED}
        self.total = np.array([state.total for state in states])

    def take(self, losses: Floats, steps: Counts, counts: Counts, lasts: Counts) -> list[Broken]:
        """Take losses (steps, P) of as many steps as each took; return who broke, each at its first.

        Each is the mean over `counts` (P,) examples, that of the last step over `lasts`.
        """
        moved = [self._stepped[name] for name in _STEPPED]
        broken = follow(losses, steps, counts, lasts, self._limit, self.total, *moved)
        return [
            Broken(place, int(broken[place]), float(losses[broken[place], place]), self.gauges(place))
            for place in np.flatnonzero(broken >= 0).tolist()
        ]

    def look(self, readings: Floats, times: Counts | NDArray[np.bool_]) -> None:
        """Take what `monitors.look` saw (P, 3), added up over so many `times` (P,) that each looked."""
        for name, column in zip(_SUMMED, readings.T, strict=False):
            self._summed[name] += np.where(times, column, 0.0)
        self._summed["samples"] += times

    def gauges(self, place: int) -> Gauges:
        """Return the readings of one member, as it keeps them alone."""
        kept = self._gauges[place]
        numbers: dict[str, Any] = {
            name: float(column[place]) for name, column in (self._stepped | self._summed).items()
        }
        counts = {name: int(numbers[name]) for name in _COUNTS}
        return replace(kept, **(numbers | counts))

    def put(self, place: int, state: State) -> None:
        """Read anew where one member stands, whose epoch has ended."""
        self._gauges[place] = state.gauges
        for name in _SUMMED:
            self._summed[name][place] = getattr(state.gauges, name)
        self.total[place] = state.total


def _column(gauges: Sequence[Gauges], name: str) -> Floats:
    return np.array([float(getattr(each, name)) for each in gauges])
