"""Strides: the steps that all members of a lane take together until something happens to one of them.

Within a stride every member takes the next batches of its epoch, always as many examples; it ends at the latest where
the epoch of a member ends, and before a last batch that is shorter than the others. So what members need for it can be
laid out beforehand, and nothing but tensors moves while it is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.course import Run

# A stop is noticed between strides, and losses are looked at.
MOST_STEPS = 64


@dataclass(frozen=True, slots=True)
class Stride:
    """`steps` batches of P members: numbers of examples (steps, P, size) and rates (steps, P); `counts` (P,) are real.

    A member with fewer examples in a batch than `size` is filled up with its own first one, which does not count.
    """

    numbers: Tensor
    rates: Tensor
    counts: Tensor
    size: int

    @property
    def steps(self) -> int:
        """How many steps."""
        return len(self.numbers)

    @property
    def weights(self) -> Tensor:
        """What each example counts in its member's mean, (P, size)."""
        return _weights(self.counts, self.size)


def _weights(counts: Tensor, size: int) -> Tensor:
    shares = counts.double().unsqueeze(-1)
    return torch.where(torch.arange(size) < shares, 1 / shares, 0.0)


def lay_out(runs: Sequence[Run], *, most: int = MOST_STEPS) -> Stride:
    """Lay out the next stride of members that each have a batch left in their epoch, of at most so many steps."""
    reaches = [_reach(run) for run in runs]
    steps = min(most, *(steps for steps, _ in reaches))
    counts = [count for _, count in reaches]
    size = max(counts)
    numbers = np.empty((len(runs), steps, size), dtype=np.int64)
    rates = np.empty((len(runs), steps))
    for place, run in enumerate(runs):
        first, count = run.state.batches, counts[place]
        start = first * run.course.batch_size
        taken = run.epoch.numbers.numpy()[start : start + steps * count].reshape(steps, count)
        numbers[place, :, :count] = taken
        if count < size:
            numbers[place, :, count:] = taken[:, :1]
        rates[place] = run.epoch.rates.numpy()[first : first + steps]
    turned = torch.from_numpy(numbers.transpose(1, 0, 2).copy())
    return Stride(turned, torch.from_numpy(rates.T.copy()), torch.tensor(counts), size)


def _reach(run: Run) -> tuple[int, int]:
    """Return how many batches of one size this member has ahead of it in its epoch, and that size."""
    course, done = run.course, run.state.batches
    whole = len(course.data.train) // course.batch_size - done
    if whole > 0:
        return whole, course.batch_size
    return 1, len(course.data.train) - done * course.batch_size


def batch_ahead(runs: Sequence[Run], ahead: int) -> tuple[Tensor, Tensor]:
    """Return the batch that lies so many batches ahead of each run in its epoch: numbers of examples and weights (P, n).

    A member with fewer examples than another is filled up with its own first one, of weight 0.
    """
    found = []
    for run in runs:
        first = (run.state.batches + ahead) * run.course.batch_size
        found.append(run.epoch.numbers[first : first + run.course.batch_size])
    counts = torch.tensor([len(numbers) for numbers in found])
    size = int(counts.max())
    filled = [torch.cat([numbers, numbers[:1].expand(size - len(numbers))]) for numbers in found]
    return torch.stack(filled), _weights(counts, size)
