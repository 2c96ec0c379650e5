"""A tree of balls around the rows of the weights: half-space reporting by geometry.

A ball with center c and radius r holds nobody over the threshold b for an input x where <c, x> + r |x| <= b, and is passed
over with all that is in it (Omohundro, "Five balltree construction algorithms", 1989). That the bound decides by directions
is its limit: in four dimensions it passes over nine of ten rows, from sixteen on over hardly any. This is the structure
that theory speaks of, for low dimensions, and the only one here that answers for points that it was not built for.

Rows that were moved by more than the slack, by which all balls are held to be larger, are tried with every query. The tree
is built anew when they are many.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..active import Active
from ..kernels.interface import Kernels, Layer, Lists
from ..kernels.plain import sampled
from .interface import Counters

# A ball with so many rows, or fewer, is not split.
_LEAF = 32
# The tree is built anew once so many rows were changed, or this share of all.
_FEWEST, _SHARE = 64, 0.05
# So many rows may be candidates at a time.
_TILE = 2**22
# Inner products are rounded in float32, relatively to the lengths of both.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Tree:
    """Balls level by level, 2^k of them on level k, whose halves are the balls 2 i and 2 i + 1 of the next.

    `levels` holds centers (2^k, d) and radii (2^k,), `members` (leaves, size) int32 the rows in each ball of the last, and -1.
    """

    levels: list[tuple[Tensor, Tensor]]
    members: Tensor

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        held = [self.members, *(tensor for level in self.levels for tensor in level)]
        return sum(tensor.numel() * tensor.element_size() for tensor in held)


def grown(weights: Tensor) -> Tree:
    """Return the tree of rows (m, d): a ball is split in the middle of its rows, along the axis on which they lie widest."""
    width = len(weights)
    depth = max(0, math.ceil(math.log2(width / _LEAF)))
    # A place beyond the rows repeats one of them, so that all balls of a level have as many.
    places = torch.arange(math.ceil(width / 2**depth) * 2**depth).unsqueeze(0)
    levels = []
    for level in range(depth + 1):
        own = weights[places % width]
        levels.append(_ball(own))
        if level < depth:
            widest = (own.amax(1) - own.amin(1)).argmax(1)
            along = own.gather(2, widest.view(-1, 1, 1).expand(-1, own.shape[1], 1)).squeeze(2)
            places = places.gather(1, along.argsort(1)).view(2 * len(places), -1)
    return Tree(levels, places.masked_fill(places >= width, -1).int())


def _ball(own: Tensor) -> tuple[Tensor, Tensor]:
    """Return centers and radii of balls (nodes, size, d)."""
    centers = own.mean(1)
    radii = (own - centers.unsqueeze(1)).norm(dim=2).amax(1)
    return centers, radii + _ROUNDING * (radii + centers.norm(dim=1))


def descend(tree: Tree, points: Tensor, threshold: float, slack: float) -> tuple[Tensor, Tensor, int]:
    """Return pairs (row of points (B, d), leaf) that may hold someone over the threshold, sorted, and how many balls were tried."""
    lengths = points.norm(dim=1)
    rows, nodes = torch.arange(len(points)), torch.zeros(len(points), dtype=torch.int64)
    tried = 0
    for level, (centers, radii) in enumerate(tree.levels):
        if level:
            rows, nodes = rows.repeat_interleave(2), torch.stack([2 * nodes, 2 * nodes + 1], dim=1).flatten()
        highest = sampled(points, centers, rows, nodes) + (radii[nodes] + slack) * lengths[rows]
        tried += len(rows)
        may = ~(highest <= threshold)
        rows, nodes = rows[may], nodes[may]
    return rows, nodes, tried


class BallTree:
    """See `BackEnd`. It answers for any points, too."""

    def __init__(self, layer: Layer, kernels: Kernels, counters: Counters | None = None, *, slack: float = 0.0) -> None:
        self._layer = layer
        self._kernels = kernels
        self._slack = slack
        self._changed = torch.empty(0, dtype=torch.int32)
        self.counters = Counters() if counters is None else counters
        self._build()

    @property
    def bytes(self) -> int:
        return self._tree.bytes

    def allowance(self, threshold: float) -> float:
        del threshold
        return self._slack

    def query(self, numbers: Tensor, threshold: float) -> Active:
        return self.query_points(self._layer.inputs[numbers], threshold)

    def query_points(self, points: Tensor, threshold: float) -> Active:
        """Return who is over the threshold for points (B, d), of whatever length."""
        lists, balls = self._candidates(points, threshold)
        layer = Layer(self._layer.weights, points, self._layer.signs, self._layer.paths)
        active, tried = self._kernels.fire(layer, torch.arange(len(points)), lists, self._changed, threshold)
        self.counters.take(len(points), candidates=balls + tried, active=int(active.counts.sum()))
        return active

    def update(self, beyond: Tensor, threshold: float) -> None:
        del threshold
        self._layer.paths[beyond.long()] = math.inf
        self._changed = torch.unique(torch.cat([self._changed, beyond]))
        if len(self._changed) >= max(_FEWEST, _SHARE * len(self._layer.weights)):
            self.counters.refreshed += len(self._changed)
            self.counters.flushes += 1
            self._changed = self._changed[:0]
            self._build()

    def _build(self) -> None:
        self._tree = grown(self._layer.weights)
        self._layer.paths.zero_()

    def _candidates(self, points: Tensor, threshold: float) -> tuple[Lists, int]:
        """Return who is in the leaves that may hold someone, and how many balls were tried."""
        parts = list(self._parts(points, threshold))
        lengths = torch.cat([lengths for lengths, _, _ in parts])
        entries = torch.empty(len(points), max(1, int(lengths.max())), dtype=torch.int32)
        entries[torch.arange(entries.shape[1]) < lengths.unsqueeze(1)] = torch.cat([neurons for _, neurons, _ in parts])
        return Lists(entries, lengths), sum(balls for _, _, balls in parts)

    def _parts(self, points: Tensor, threshold: float) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yield, for a few points at a time, how many candidates each has, all of these, and how many balls were tried."""
        width = len(self._layer.weights)
        for part in torch.split(points, max(1, _TILE // width)):
            rows, leaves, balls = descend(self._tree, part, threshold, self._slack)
            neurons = self._tree.members[leaves].long()
            pairs = (rows.unsqueeze(1) * width + neurons)[neurons >= 0].sort().values
            yield torch.bincount(pairs // width, minlength=len(part)), (pairs % width).int(), balls
