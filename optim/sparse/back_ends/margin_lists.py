"""Of each input the neurons that are within a slack of firing, kept up lazily: the back end that wins.

An input of length 1 meets a row w with inner product z. While w is moved by no more than a distance D, z rises by no more
than D. So a list of the rows with z over a floor holds all that are over a threshold, as long as none outside of it has
moved by more than threshold - floor, which is its allowance. This is the idea of the neighbour lists of molecular
dynamics (Verlet, Phys. Rev. 159, 1967) on the side of the data (Song, Yang & Zhang, NeurIPS 2021).

Three steps keep the lists true. How far a row was moved is bounded by the length of its path. Where that is over the
allowance, the true distance is computed, which is mostly much shorter. Rows that did come too far are `stray`: they are
tried with every query, until that has cost as much as computing their inner products with all inputs at once.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..active import Active
from ..kernels.interface import Kernels, Layer, Lists
from .interface import Counters

# A row whose true distance is below this share of the allowance is left in its place.
_NEAR = 0.8
# Stray rows are refreshed once there are so many, and they have cost as much as that will: counted in inner products of a
# list, of which one of many at once costs this part, and an entry that is shifted this one.
_FEWEST = 64
_AT_ONCE, _SHIFT = 1 / 4, 1 / 8
# So many inner products are computed at a time: they stay in the cache.
_TILE = 2**19
# How long lists become is told by so many rows at most; of fewer by this part of them, or so many at least.
_SAMPLE, _PART, _LEAST_SAMPLE = 2048, 8, 256
# Lists have so much more room than they need.
_SPARE = 1.2
# Lists that have grown by this factor hold too much that has gone.
_GROWN = 1.25


class MarginLists:
    """See `BackEnd`. Lists hold what is over `floor`; inputs must have length 1. `ahead` is a preview, if there is one."""

    def __init__(
        self,
        layer: Layer,
        kernels: Kernels,
        counters: Counters | None = None,
        *,
        floor: float,
        ahead: "Preview | None" = None,
    ) -> None:
        self._layer = layer
        self._kernels = kernels
        self._floor = floor
        self._stray = torch.empty(0, dtype=torch.int32)
        # How often a stray row was tried since the last refresh.
        self._borne = 0
        self.counters = Counters() if counters is None else counters
        self._built = 0
        self._build(ahead or preview(layer, floor))

    @property
    def bytes(self) -> int:
        held = (self._lists.entries, self._lists.lengths, self._snapshot)
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    def allowance(self, threshold: float) -> float:
        if threshold < self._floor:
            raise ValueError(f"lists of what is over {self._floor:g} cannot tell what is over {threshold:g}")
        return threshold - self._floor

    def query(self, numbers: Tensor, threshold: float) -> Active:
        self.allowance(threshold)
        active, tried = self._kernels.fire(self._layer, numbers, self._lists, self._stray, threshold)
        self.counters.take(len(numbers), candidates=tried, active=int(active.counts.sum()))
        self._borne += len(numbers) * len(self._stray)
        return active

    def update(self, beyond: Tensor, threshold: float) -> None:
        if len(beyond):
            self._extend_snapshot()
            strays = self._kernels.settle(self._layer, self._snapshot, beyond, _NEAR * self.allowance(threshold))
            if len(strays):
                self._stray = torch.unique(torch.cat([self._stray, strays]))
        if len(self._stray) >= _FEWEST and self._borne >= self._refresh_cost:
            self.refresh()

    @property
    def _refresh_cost(self) -> float:
        return len(self._layer.inputs) * len(self._stray) * _AT_ONCE + self._built * _SHIFT

    def fold(self, factor: float) -> None:
        """Take note that all rows were multiplied by a power of two."""
        self._floor *= factor
        self._snapshot *= factor

    def refresh(self) -> None:
        """Compute the inner products of stray rows with all inputs, and list them where they are over the floor.

        Where they are no more they stay listed, until lists have grown so much that they are built anew.
        """
        layer, fresh = self._layer, self._stray
        self._make_room(len(fresh))
        rows = layer.weights[fresh.long()]
        for part in _parts(len(layer.inputs), _TILE // max(1, len(fresh))):
            lists = Lists(self._lists.entries[part], self._lists.lengths[part])
            self._kernels.insert(lists, layer.inputs[part] @ rows.T, fresh, self._floor)
        self._snapshot[fresh.long()] = rows
        layer.paths[fresh.long()] = 0.0
        self.counters.refreshed += len(fresh)
        self.counters.flushes += 1
        self._stray, self._borne = fresh[:0], 0
        if int(self._lists.lengths.sum()) > _GROWN * self._built:
            self._build(preview(layer, self._floor))

    def _build(self, ahead: "Preview") -> None:
        layer, n = self._layer, len(self._layer.inputs)
        self._lists = Lists(torch.empty(n, ahead.columns, dtype=torch.int32), torch.zeros(n, dtype=torch.int64))
        for part in _parts(len(layer.weights), _tile(n)):
            products = layer.inputs @ layer.weights[part].T
            self._make_room(products.shape[1])
            self._kernels.collect(self._lists, products, part.start, self._floor)
        self._built = int(self._lists.lengths.sum())
        self._snapshot = layer.weights.clone()
        layer.paths.zero_()

    def _make_room(self, more: int) -> None:
        entries, width = self._lists.entries, len(self._layer.weights)
        needed = min(width, int(self._lists.lengths.max()) + more)
        if needed > entries.shape[1]:
            wider = torch.empty(len(entries), min(width, int(_SPARE * needed)), dtype=torch.int32)
            wider[:, : entries.shape[1]] = entries
            self._lists.entries = wider

    def _extend_snapshot(self) -> None:
        """Take in rows that were added: nothing is listed of them, so they count as infinitely far away."""
        added = len(self._layer.weights) - len(self._snapshot)
        if added:
            nowhere = self._snapshot.new_full((added, self._snapshot.shape[1]), math.inf)
            self._snapshot = torch.cat([self._snapshot, nowhere])


@dataclass(frozen=True, slots=True)
class Preview:
    """What lists would be, from a sample: which share of all neurons some of them hold, by so many `rows` of them.

    `neurons` and `inputs` are how many there are.
    """

    shares: Tensor
    rows: int
    neurons: int
    inputs: int

    @property
    def sampled(self) -> float:
        """Which part of all pairs was looked at."""
        return self.rows * len(self.shares) / (self.neurons * self.inputs)

    @property
    def room(self) -> int:
        """How many neurons the longest list will hold, with four standard errors."""
        most = self.shares.max().item()
        share = most + 4 * math.sqrt((most + 1 / self.rows) / self.rows)
        return min(self.neurons, int(share * self.neurons) + 1)

    @property
    def columns(self) -> int:
        """For how many neurons each list gets room, with those that are looked at together."""
        return min(self.neurons, int(_SPARE * self.room) + _tile(self.inputs))

    def bytes(self, layer: Layer) -> int:
        """Return about how many bytes they take, with the snapshot that they are kept up by."""
        return self.inputs * (self.columns * 4 + 8) + layer.weights.numel() * layer.weights.element_size()


def preview(layer: Layer, floor: float, *, most_inputs: int | None = None) -> Preview:
    """Look ahead at lists of what is over the floor: at those of all inputs, or of so many."""
    width, count = len(layer.weights), len(layer.inputs)
    rows = layer.weights[:: max(1, width // max(_LEAST_SAMPLE, min(_SAMPLE, width // _PART)))]
    inputs = layer.inputs[:: max(1, count // (most_inputs or count))]
    counts = [(inputs[part] @ rows.T > floor).sum(dim=1) for part in _parts(len(inputs), _TILE // len(rows))]
    return Preview(torch.cat(counts) / len(rows), len(rows), width, count)


def _tile(inputs: int) -> int:
    """Return how many neurons are looked at together."""
    return max(64, _TILE // inputs)


def _parts(total: int, size: int) -> list[slice]:
    size = max(1, size)
    return [slice(begin, min(begin + size, total)) for begin in range(0, total, size)]
