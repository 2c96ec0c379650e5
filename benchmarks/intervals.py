"""How sure a median is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """Two of the values between which the median of their distribution lies with probability `confidence`."""

    low: float
    high: float
    confidence: float


def median_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Return the narrowest pair of order statistics, as many from either end, of at least this confidence.

    It assumes nothing of the distribution. Of too few values it is the whole range, whose confidence is less. Raise
    ValueError for no values.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    ordered, count = sorted(values), len(values)
    outside = 0
    while outside + 1 <= (count - 1) // 2 and _covered(count, outside + 1) >= confidence:
        outside += 1
    return Interval(ordered[outside], ordered[count - 1 - outside], _covered(count, outside))


def _covered(count: int, outside: int) -> float:
    """Return the probability that a median lies between the values with `outside` values beyond each of them."""
    beyond: int = sum(math.comb(count, fewer) for fewer in range(outside + 1))
    return 1 - math.ldexp(beyond, 1 - count)
