"""All inner products, by one matrix product: nothing to prepare, nothing to keep up."""

import math

from torch import Tensor

from ..active import Active
from ..kernels.interface import Kernels, Layer
from .interface import Counters

# So many inner products are computed at a time: they stay in the cache.
_TILE = 2**19
# An answer that outgrows its room gets so many times as much.
_SPARE = 1.5


class Dense:
    """See `BackEnd`."""

    def __init__(self, layer: Layer, kernels: Kernels, counters: Counters | None = None) -> None:
        self._layer = layer
        self._kernels = kernels
        self._room = 0
        self.counters = Counters() if counters is None else counters

    @property
    def bytes(self) -> int:
        return 0

    def allowance(self, threshold: float) -> float:
        del threshold
        return math.inf

    def query(self, numbers: Tensor, threshold: float) -> Active:
        layer = self._layer
        active = scanned(self._kernels, layer.inputs[numbers], layer.weights, threshold, room=self._room)
        most, products = int(active.counts.max()), len(numbers) * len(layer.weights)
        self._room = max(self._room, int(_SPARE * most))
        self.counters.take(len(numbers), candidates=products, active=int(active.counts.sum()))
        return active

    def update(self, beyond: Tensor, threshold: float) -> None:
        pass


def scanned(kernels: Kernels, points: Tensor, weights: Tensor, threshold: float, *, room: int = 0) -> Active:
    """Return who of the rows of `weights` is over the threshold for points (B, d), of all inner products.

    The answer begins with so much `room`, and gets more where it needs it.
    """
    tile = max(64, _TILE // len(points))
    active = Active.room(len(points), room + tile)
    for begin in range(0, len(weights), tile):
        products = points @ weights[begin : begin + tile].T
        active = active.grown(products.shape[1], spare=_SPARE)
        kernels.scan(active, products, begin, threshold)
    return active
