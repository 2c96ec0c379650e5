"""Lower the learning rate when a measured loss stops falling: a factor on the rate, and how it follows the loss.

    better  = metric < best (1 - decay_threshold)
    best    = metric if better
    bad     = 0 if better or cooling, else bad + 1            epochs in a row without progress
    cooling = one less while above 0
    bad > decay_patience:  factor = max(decay_gamma factor, decay_final),  cooling = decay_cooldown,  bad = 0

This is torch.optim.lr_scheduler.ReduceLROnPlateau with mode "min", a relative threshold and eps 0. A metric of NaN is
no progress. The rate of a step is the base rate times `schedule("plateau", ...)`, which is the warm-up, times `factor`.

Shapes: all tensors are float64, () for one model or (P,) for a population, whose members each go their own way.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from . import catalog
from .schedule_options import Value, resolve


class PlateauState(NamedTuple):
    """The factor on the rate, the best metric so far, epochs without progress, and epochs left to wait."""

    factor: Tensor
    best: Tensor
    bad: Tensor
    cooling: Tensor


def init() -> PlateauState:
    """Return the state before the first metric, of one model; it takes the population's shape with its metrics."""
    return PlateauState(*(torch.tensor(value, dtype=torch.float64) for value in (1.0, torch.inf, 0.0, 0.0)))


def update(state: PlateauState, metric: float | Tensor, options: Mapping[str, Value]) -> PlateauState:
    """Return the state after an epoch with this metric; options of `plateau` that are missing take their defaults.

    Raise ValueError as `schedule` does.
    """
    values = resolve(catalog.schedule_info("plateau"), options)
    loss = torch.as_tensor(metric, dtype=torch.float64)
    better = loss < state.best * (1 - values["decay_threshold"])
    waiting = state.cooling > 0
    bad = torch.where(better | waiting, 0.0, state.bad + 1)
    drop = bad > values["decay_patience"]
    lower = torch.maximum(state.factor * values["decay_gamma"], values["decay_final"])
    return PlateauState(
        factor=torch.where(drop, lower, state.factor),
        best=torch.where(better, loss, state.best),
        bad=torch.where(drop, 0.0, bad),
        cooling=torch.where(drop, values["decay_cooldown"], (state.cooling - 1).clamp(min=0)),
    )
