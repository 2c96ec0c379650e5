"""Powers of what was measured: straight lines through logarithms."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slope:
    """The power, and its standard error if the points err independently and alike; None where there are too few for one."""

    slope: float
    error: float | None

    def __str__(self) -> str:
        """Write both."""
        return f"{self.slope:.2f}" + ("" if self.error is None else f" (s.e. {self.error:.2f})")


def power(points: Sequence[tuple[float, float]]) -> Slope | None:
    """Fit log y = slope log x + c to points (x, y) by least squares; None where the points have no two x."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    if len({x for x, _ in logs}) < 2:
        return None
    xs, ys = zip(*logs, strict=True)
    slope, offset = statistics.linear_regression(xs, ys)
    if len(logs) < 3:
        return Slope(slope, None)
    mean = statistics.fmean(xs)
    spread = math.fsum((x - mean) ** 2 for x in xs)
    left = math.fsum((y - slope * x - offset) ** 2 for x, y in logs)
    return Slope(slope, math.sqrt(left / (len(logs) - 2) / spread))
