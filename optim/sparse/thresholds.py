"""The threshold b that a neuron's inner product must pass: given, from the width, or for a wanted share of active neurons.

With Gaussian weights and inputs of length 1 a neuron is active with probability P(N(0, 1) > b), whatever the dimension.
sqrt(0.4 ln m) leaves at most m^0.8 of m neurons (Song, Yang & Zhang, NeurIPS 2021), and far fewer in truth.
"""

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from types import MappingProxyType

_NORMAL = NormalDist()


def fixed(value: float, width: int) -> float:
    """Return the value itself."""
    del width
    return value


def by_width(value: float, width: int) -> float:
    """Return sqrt(c ln m) for c = value."""
    return math.sqrt(value * math.log(width))


def by_share(value: float, width: int) -> float:
    """Return the threshold over which this share of the neurons is expected as training begins, 0 for a half and more."""
    del width
    return max(0.0, _NORMAL.inv_cdf(1.0 - value)) if value < 1.0 else 0.0


THRESHOLDS: Mapping[str, Callable[[float, int], float]] = MappingProxyType(
    {"fixed": fixed, "width": by_width, "share": by_share}
)


def expected_share(threshold: float) -> float:
    """Return with which probability a Gaussian neuron is over the threshold."""
    return _NORMAL.cdf(-threshold)
