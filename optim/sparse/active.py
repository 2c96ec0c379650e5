"""Who fires for the examples of a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Active:
    """The active neurons of B examples, padded: `counts` (B,) int64 tell how much of each row counts.

    `neurons` (B, K) int32 rise within a row, `heights` (B, K) float32 are their inner products with the example.
    """

    neurons: Tensor
    heights: Tensor
    counts: Tensor

    @classmethod
    def room(cls, examples: int, neurons: int) -> "Active":
        """Return room for so many neurons of each example, with nothing in it."""
        shape = examples, max(1, neurons)
        counts = torch.zeros(examples, dtype=torch.int64)
        return cls(torch.empty(shape, dtype=torch.int32), torch.empty(shape), counts)

    @classmethod
    def padded(cls, rows: Tensor, neurons: Tensor, heights: Tensor, examples: int) -> "Active":
        """Return pairs (row, neuron) with their heights, each (pairs,) and sorted, as rows of so many examples."""
        counts = torch.bincount(rows, minlength=examples)
        active = cls.room(examples, int(counts.max()) if len(rows) else 0)
        places = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
        active.neurons[rows, places], active.heights[rows, places] = neurons.int(), heights
        return cls(active.neurons, active.heights, counts)

    def grown(self, more: int, *, spare: float) -> "Active":
        """Return the same with room for so many more in each row; where there is none, rows get longer by a factor `spare`."""
        needed = int(self.counts.max()) + more
        if needed <= self.neurons.shape[1]:
            return self
        wider = Active.room(len(self.counts), int(spare * needed))
        for old, new in ((self.neurons, wider.neurons), (self.heights, wider.heights)):
            new[:, : old.shape[1]] = old
        return Active(wider.neurons, wider.heights, self.counts)

    @property
    def mask(self) -> Tensor:
        """Which places count, (B, K) bool."""
        return torch.arange(self.neurons.shape[1]) < self.counts.unsqueeze(1)

    def pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows, neurons (int64) and heights of all pairs, each (pairs,), row by row."""
        mask = self.mask
        rows = torch.arange(len(self.counts)).repeat_interleave(self.counts)
        return rows, self.neurons[mask].long(), self.heights[mask]

    def row(self, example: int) -> tuple[Tensor, Tensor]:
        """Return neurons and heights of one example."""
        count = int(self.counts[example])
        return self.neurons[example, :count], self.heights[example, :count]
