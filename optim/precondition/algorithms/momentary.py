"""Methods whose curvature is that of the mini-batch at hand: made anew at every step, kept for none, so without intervals.

    g <- direction(batch, g)

Where it is not finite the member takes its plain gradient, and the step is counted as skipped.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ...transform import Hyper, Rule, Tensors, count
from ..batch import Batch
from .scheduled import chosen, finite, within_region

# (batch, gradients, number of the step, hyperparameters) -> preconditioned gradients
Direction: TypeAlias = Callable[[Batch, Tensors, Tensor, Hyper], Sequence[Tensor]]


class MomentaryState(NamedTuple):
    """Steps so far, and skipped ones."""

    step: Tensor
    skipped: Tensor


def momentary(direction: Direction) -> Rule[MomentaryState]:
    """Return the link that preconditions gradients so; it looks at the batch."""

    def init(params: Tensors) -> MomentaryState:
        return MomentaryState(count(params), count(params))

    def update(
        grads: Tensors, state: MomentaryState, params: Tensors, hyper: Hyper, batch: Batch
    ) -> tuple[list[Tensor], MomentaryState]:
        del params
        with torch.no_grad():
            new = direction(batch, grads, state.step, hyper)
            sound = finite(new, torch.ones_like(state.step, dtype=torch.bool))
            found = within_region(chosen(sound, new, grads), grads, hyper)
        return found, MomentaryState(state.step + 1, state.skipped + ~sound)

    return Rule(init, update, by_tensor=True, looks=True)
