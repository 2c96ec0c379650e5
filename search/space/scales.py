"""Scales: on which a parameter's values are spread evenly, as pairs of functions."""

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

Warp: TypeAlias = tuple[Callable[[float], float], Callable[[float], float]]


def _logit(value: float) -> float:
    return math.log(value) - math.log1p(-value)


def _expit(place: float) -> float:
    return 1 / (1 + math.exp(-place)) if place >= 0 else math.exp(place) / (1 + math.exp(place))


# scale -> (onto the scale, back); both rise with the value
WARPS: Mapping[str, Warp] = {
    "linear": (lambda x: x, lambda t: t),
    "log": (math.log, math.exp),
    "reverse_log": (lambda x: -math.log1p(-x), lambda t: -math.expm1(-t)),
    "logit": (_logit, _expit),
}


def between(scale: str, low: float, high: float, share: float) -> float:
    """Return the value that lies at `share` (0 to 1) of the way from low to high on the scale; never beyond either."""
    if share <= 0:
        return low
    if share >= 1:
        return high
    onto, back = WARPS[scale]
    return min(max(back(onto(low) * (1 - share) + onto(high) * share), low), high)


def share(scale: str, low: float, high: float, value: float) -> float:
    """Return how far of the way from low to high a value lies on the scale, 0 to 1: `between` turned round."""
    onto, _ = WARPS[scale]
    start, end = onto(low), onto(high)
    return min(max((onto(value) - start) / (end - start), 0.0), 1.0) if end > start else 0.0
