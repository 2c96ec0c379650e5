"""For each input a tree of its inner products with all rows, of which each node is the larger of two: a max-tree.

A query goes down only where a node is over the threshold. A row that has changed is multiplied with all inputs, and its path
to the root is mended in every tree: the correlation tree of Alman, Liang, Song, Zhang & Zhuo ("Bypass exponential time
preprocessing", 2022). It holds every inner product twice.

What a tree holds was rounded as the matrix product of its time did. Inner products of those found are computed once more, so
that an answer does not depend on when rows were changed, and a run that is resumed takes the very same steps.
"""

import itertools
import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..active import Active
from ..kernels.interface import Kernels, Layer, Lists
from .interface import Counters

# So far below the threshold, and by this share of it, nodes are followed.
_ROUNDING = 1e-4


class CorrelationTree:
    """See `BackEnd`; its candidates are the nodes that were looked at.

    Raise ValueError where the trees need more than `allowed_bytes`.
    """

    def __init__(
        self, layer: Layer, kernels: Kernels, counters: Counters | None = None, *, allowed_bytes: float = math.inf
    ) -> None:
        n, width = len(layer.inputs), len(layer.weights)
        needed = needed_bytes(n, width)
        if needed > allowed_bytes:
            raise ValueError(
                f"correlation trees of {n} inputs and {width} neurons need {needed / 2**20:.0f} MiB, of "
                f"{allowed_bytes / 2**20:.0f} allowed: take fewer inputs or neurons, or margin lists"
            )
        self._layer = layer
        self._kernels = kernels
        self.counters = Counters() if counters is None else counters
        # From the leaves (n, m) up to the roots (n, 1).
        self._levels = [layer.inputs @ layer.weights.T]
        while self._levels[-1].shape[1] > 1:
            self._levels.append(_larger(self._levels[-1]))
        layer.paths.zero_()

    @property
    def bytes(self) -> int:
        return sum(level.numel() * level.element_size() for level in self._levels)

    def allowance(self, threshold: float) -> float:
        del threshold
        return 0.0

    def query(self, numbers: Tensor, threshold: float) -> Active:
        layer = self._layer
        lists, looked = self._descend(numbers, threshold - _ROUNDING * (1.0 + abs(threshold)))
        own = Layer(layer.weights, layer.inputs[numbers], layer.signs, layer.paths)
        nobody = torch.empty(0, dtype=torch.int32)
        active, _ = self._kernels.fire(own, torch.arange(len(numbers)), lists, nobody, threshold)
        self.counters.take(len(numbers), candidates=looked, active=int(active.counts.sum()))
        return active

    def _descend(self, numbers: Tensor, threshold: float) -> tuple[Lists, int]:
        """Return which leaves are over the threshold for each of the inputs, and how many nodes were looked at."""
        rows, nodes = torch.arange(len(numbers)), torch.zeros(len(numbers), dtype=torch.int64)
        heights, looked = torch.empty(0), 0
        for below, level in enumerate(reversed(self._levels)):
            if below:
                rows, nodes = _children(rows, nodes, level.shape[1])
            heights = level[numbers[rows], nodes]
            looked += len(rows)
            over = ~(heights <= threshold)
            rows, nodes, heights = rows[over], nodes[over], heights[over]
        found = Active.padded(rows, nodes, heights, len(numbers))
        return Lists(found.neurons, found.counts), looked

    def update(self, beyond: Tensor, threshold: float) -> None:
        del threshold
        if len(beyond) == 0:
            return
        layer, nodes = self._layer, torch.unique(beyond.long())
        self._widen()
        self._levels[0][:, nodes] = layer.inputs @ layer.weights[nodes].T
        for level, above in itertools.pairwise(self._levels):
            nodes = torch.unique(nodes // 2)
            # A last node without a sibling is its own.
            above[:, nodes] = torch.maximum(
                level[:, 2 * nodes], level[:, (2 * nodes + 1).clamp(max=level.shape[1] - 1)]
            )
        layer.paths[beyond.long()] = 0.0
        self.counters.refreshed += len(beyond)
        self.counters.flushes += 1

    def _widen(self) -> None:
        """Make room for rows that were added to the layer; who is told of them computes what stands there."""
        n, widths = len(self._layer.inputs), _widths(len(self._layer.weights))
        if widths[0] == self._levels[0].shape[1]:
            return
        self._levels += [torch.empty(n, 0)] * (len(widths) - len(self._levels))
        self._levels = [
            pad(level, (0, width - level.shape[1]), value=-math.inf)
            for level, width in zip(self._levels, widths, strict=True)
        ]


def needed_bytes(inputs: int, neurons: int) -> int:
    """Return how much memory the trees take."""
    return 4 * inputs * sum(_widths(neurons))


def _widths(neurons: int) -> list[int]:
    """Return how many nodes the levels of a tree have, from the leaves up."""
    widths = [neurons]
    while widths[-1] > 1:
        widths.append((widths[-1] + 1) // 2)
    return widths


def _larger(level: Tensor) -> Tensor:
    """Return of each two neighbours of (n, width) the larger one."""
    even = pad(level, (0, level.shape[1] % 2), value=-math.inf)
    return even.view(len(level), -1, 2).amax(2)


def _children(rows: Tensor, nodes: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the children of nodes, on a level of this width, with the rows that they are of, in order."""
    children = torch.stack([2 * nodes, 2 * nodes + 1], dim=1).flatten()
    there = children < width
    return rows.repeat_interleave(2)[there], children[there]
