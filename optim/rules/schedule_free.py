"""What the schedule-free rules share: three sequences in place of a schedule.

    z     the steps of the base rule are taken here
    x     a weighted mean of all z, to evaluate and to keep
    y     (1 - beta) z + beta x, the parameters that are trained: gradients are taken here

    r     <- max(r, lr)                                          the largest rate so far; r and w start at 0
    w     <- w + r^2
    x     <- x + (r^2 / w) (z - x)

so steps of a warm-up count little. Source: Defazio et al., The Road Less Scheduled, 2024.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..transform import Tensors, align


class Weighting(NamedTuple):
    """The largest rate so far, the sum of weights, and the share of the newest z in the mean."""

    rate_max: Tensor
    weight_sum: Tensor
    share: Tensor


def weigh(rate_max: Tensor, weight_sum: Tensor, lr: Tensor) -> Weighting:
    rate_max = torch.maximum(rate_max, lr)
    weight = rate_max.square()
    weight_sum = weight_sum + weight
    # A rate of 0 from the first step on: nothing to weigh yet.
    return Weighting(rate_max, weight_sum, torch.where(weight_sum == 0, 0.0, weight / weight_sum))


def averaged(means: Tensors, points: Tensors, share: Tensor) -> list[Tensor]:
    """Return the new x."""
    return [
        mean * align(1 - share, mean) + point * align(share, mean) for mean, point in zip(means, points, strict=True)
    ]


def moved(params: Tensors, points: Tensors, means: Tensors, beta: Tensor) -> list[Tensor]:
    """Return the updates that take the parameters to the new y."""
    return [
        point * align(1 - beta, param) + mean * align(beta, param) - param
        for param, point, mean in zip(params, points, means, strict=True)
    ]


def copies(params: Tensors) -> list[Tensor]:
    """Return a copy of each parameter, where z and x begin."""
    return [param.detach().clone() for param in params]
