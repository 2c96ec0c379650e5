"""Adamax: Adam with the decaying maximum of the gradients in place of their root mean square, with L2 weight decay.

    g     <- g + weight_decay theta
    m     <- beta1 m + (1 - beta1) g
    u     <- max(beta2 u, |g| + eps)
    theta <- theta - lr / (1 - beta1^t) m / u                                        t from 1

Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015, section 7; eps as in torch.optim.Adamax.
Shapes: elementwise; options and the step count of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it for embeddings and where a few gradients are very large.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, align, blend, chain, count, scale, zeros


class AdamaxState(NamedTuple):
    """Steps taken so far, the moving average of the gradient and its decaying maximum, of each parameter."""

    step: Tensor
    mean: list[Tensor]
    largest: list[Tensor]


def _init(params: Tensors) -> AdamaxState:
    return AdamaxState(count(), zeros(params), zeros(params))


def _update(
    grads: Tensors,
    state: AdamaxState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], AdamaxState]:
    step = state.step + 1
    beta1, beta2, eps = hyper["beta1"], hyper["beta2"], hyper["eps"]
    mean = [blend(past, grad, beta1) for grad, past in zip(grads, state.mean, strict=True)]
    largest = [
        torch.maximum(past * align(beta2, past), grad.abs() + align(eps, grad))
        for grad, past in zip(grads, state.largest, strict=True)
    ]
    lr = hyper["lr"] / (1 - beta1**step)
    updates = [scale(first / bound, lr) for first, bound in zip(mean, largest, strict=True)]
    return updates, AdamaxState(step, mean, largest)


RULE = chain(l2, Rule(_init, _update))
