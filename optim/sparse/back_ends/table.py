"""All back ends by name."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..kernels.interface import Kernels, Layer
from .ball_tree import BallTree
from .correlation_tree import CorrelationTree
from .dense import Dense
from .interface import BackEnd, Counters
from .margin_lists import MarginLists, preview

DEFAULT_SLACK = 0.4
# What to do about lists that memory does not hold.
TOO_LARGE = "raise the threshold, lower the slack or the width, or take another reporter"


@dataclass(frozen=True, slots=True)
class Options:
    """What a back end is built for: the threshold, how far rows may move unnoticed, and how much memory it may take."""

    threshold: float = 0.0
    slack: float = DEFAULT_SLACK
    allowed_bytes: float = math.inf

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be."""
        for name, value in (("threshold", self.threshold), ("slack", self.slack)):
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name} must be a finite number of at least 0, got {value:g}")


def _lists(layer: Layer, kernels: Kernels, counters: Counters, options: Options) -> BackEnd:
    floor = options.threshold - options.slack
    ahead = preview(layer, floor)
    needed = ahead.bytes(layer)
    if needed > options.allowed_bytes:
        raise ValueError(
            f"margin lists of {len(layer.inputs)} inputs and {len(layer.weights)} neurons need about "
            f"{needed / 2**20:.0f} MiB, of {options.allowed_bytes / 2**20:.0f} allowed: {TOO_LARGE}"
        )
    return MarginLists(layer, kernels, counters, floor=floor, ahead=ahead)


def _dense(layer: Layer, kernels: Kernels, counters: Counters, options: Options) -> BackEnd:
    del options
    return Dense(layer, kernels, counters)


def _ball_tree(layer: Layer, kernels: Kernels, counters: Counters, options: Options) -> BackEnd:
    return BallTree(layer, kernels, counters, slack=options.slack)


def _correlation_tree(layer: Layer, kernels: Kernels, counters: Counters, options: Options) -> BackEnd:
    return CorrelationTree(layer, kernels, counters, allowed_bytes=options.allowed_bytes)


BACK_ENDS: Mapping[str, Callable[[Layer, Kernels, Counters, Options], BackEnd]] = MappingProxyType(
    {"lists": _lists, "dense": _dense, "ball_tree": _ball_tree, "correlation_tree": _correlation_tree}
)
