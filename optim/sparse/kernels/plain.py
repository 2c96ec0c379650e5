"""The loops of sparse training as operations of torch: slower, but there wherever torch is, and easier to believe.

What is no number is over everything, as in `kernels.compiled`.
"""

import warnings
from functools import cache

import torch
from torch import Tensor

from ..active import Active
from ..checks import LENGTH_TOLERANCE
from .interface import Layer, Lists

# Distances are rounded in float32, and inputs have length 1 to this.
ROUNDING = 1.0 + LENGTH_TOLERANCE
# More than any number of neurons.
_WIDER = 2**31


class PlainKernels:
    """See `Kernels`; torch has threads of its own."""

    threads = 1

    def fire(self, layer: Layer, numbers: Tensor, lists: Lists, extra: Tensor, threshold: float) -> tuple[Active, int]:
        width, lengths = len(layer.weights), lists.lengths[numbers]
        listed = torch.arange(lists.entries.shape[1]) < lengths.unsqueeze(1)
        rows = torch.arange(len(numbers)).repeat_interleave(lengths)
        neurons = lists.entries[numbers][listed].long()
        if len(extra):
            rows = torch.cat([rows, torch.arange(len(numbers)).repeat_interleave(len(extra))])
            neurons = torch.cat([neurons, extra.long().repeat(len(numbers))])
            pairs = torch.unique(rows * width + neurons)
            rows, neurons = pairs // width, pairs % width
        heights = sampled(layer.inputs[numbers], layer.weights, rows, neurons)
        over = ~(heights <= threshold)
        return Active.padded(rows[over], neurons[over], heights[over], len(numbers)), len(rows)

    def scan(self, active: Active, products: Tensor, begin: int, threshold: float) -> None:
        rows, found = torch.nonzero(~(products <= threshold), as_tuple=True)
        places = active.counts[rows] + _within(rows, len(products))
        active.neurons[rows, places] = (begin + found).int()
        active.heights[rows, places] = products[rows, found]
        active.counts.add_(torch.bincount(rows, minlength=len(products)))

    def strongest(self, active: Active, most: int) -> Active:
        heights = active.heights.masked_fill(~active.mask, -torch.inf)
        order = heights.argsort(dim=1, descending=True, stable=True)[:, :most]
        kept = torch.zeros_like(active.mask).scatter_(1, order, value=True) & active.mask
        rows = torch.nonzero(kept)[:, 0]
        return Active.padded(rows, active.neurons[kept], active.heights[kept], len(active.counts))

    def speak(self, layer: Layer, active: Active, threshold: float, *, squared: bool) -> Tensor:
        rows, neurons, heights = active.pairs()
        above = (heights - threshold).double()
        said = layer.signs[neurons].double() * (above.square() if squared else above).unsqueeze(1)
        outputs = torch.zeros(len(active.counts), layer.signs.shape[1], dtype=torch.float64)
        return outputs.index_add_(0, rows, said)

    def move(
        self, layer: Layer, numbers: Tensor, active: Active, pulls: Tensor, threshold: float, *, squared: bool,
        allowance: float,
    ) -> Tensor:  # fmt: skip
        rows, neurons, heights = active.pairs()
        slopes = 2 * (heights - threshold) if squared else torch.ones_like(heights)
        pull = (pulls[rows] * layer.signs[neurons]).sum(1) * slopes
        layer.weights.index_add_(0, neurons, pull.unsqueeze(1) * layer.inputs[numbers[rows]], alpha=-1)
        touched: Tensor = torch.unique(neurons)
        before = layer.paths[touched]
        layer.paths.index_add_(0, neurons, pull.abs())
        return touched[(before <= allowance) & ~(layer.paths[touched] <= allowance)].int()

    def collect(self, lists: Lists, products: Tensor, begin: int, floor: float) -> None:
        rows, found = torch.nonzero(~(products <= floor), as_tuple=True)
        places = lists.lengths[rows] + _within(rows, len(products))
        lists.entries[rows, places] = (begin + found).int()
        lists.lengths.add_(torch.bincount(rows, minlength=len(products)))

    def insert(self, lists: Lists, products: Tensor, fresh: Tensor, floor: float) -> None:
        listed = torch.arange(lists.entries.shape[1]) < lists.lengths.unsqueeze(1)
        rows, found = torch.nonzero(~(products <= floor), as_tuple=True)
        there = torch.nonzero(listed)[:, 0] * _WIDER + lists.entries[listed]
        pairs: Tensor = torch.unique(torch.cat([there, rows * _WIDER + fresh[found]]))
        owners, neurons = pairs // _WIDER, pairs % _WIDER
        lists.entries[owners, _within(owners, len(products))] = neurons.int()
        lists.lengths.copy_(torch.bincount(owners, minlength=len(products)))

    def settle(self, layer: Layer, snapshot: Tensor, beyond: Tensor, reach: float) -> Tensor:
        rows = beyond.long()
        distances = (layer.weights[rows] - snapshot[rows]).norm(dim=1) * ROUNDING
        near = distances < reach
        layer.paths[rows] = distances.masked_fill(~near, torch.inf)
        return beyond[~near]


def _within(rows: Tensor, total: int) -> Tensor:
    """Return the place of each within its row, of sorted rows."""
    counts = torch.bincount(rows, minlength=total)
    return torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]


def sampled(inputs: Tensor, weights: Tensor, rows: Tensor, neurons: Tensor) -> Tensor:
    """Return the inner products of pairs (row of inputs, row of weights), which are sorted, and no others are computed."""
    _hear_notice()
    counts = torch.bincount(rows, minlength=len(inputs))
    begins = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    shape = len(inputs), len(weights)
    wanted = torch.sparse_csr_tensor(begins, neurons, torch.zeros(len(rows)), shape, check_invariants=False)
    heights: Tensor = torch.sparse.sampled_addmm(wanted, inputs, weights.T, beta=0.0).values()
    return heights


@cache
def _hear_notice() -> None:
    """Have torch say now, to nobody, what it says once in a process: that its sparse rows are in beta.

    Once, because filters of warnings belong to all threads.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        torch.sparse_csr_tensor([0, 0], [], torch.zeros(0), (1, 1), check_invariants=False)
