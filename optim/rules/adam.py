"""Adam (adaptive moment estimation), with L2 weight decay.

    g     <- g + weight_decay theta
    m     <- beta1 m + (1 - beta1) g
    s     <- beta2 s + (1 - beta2) g^2
    theta <- theta - lr m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + eps)          t from 1

Without `bias_correction` both quotients by 1 - beta^t are left out, and early steps are too long: the first by
(1 - beta1) / sqrt(1 - beta2), which is 3.16 at the defaults.

Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015; weight decay as in torch.optim.Adam.
Shapes: elementwise; options and the step count of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it as a first choice that works with little tuning.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, align, blend, chain, count, scale, zeros


class AdamState(NamedTuple):
    """Steps taken so far and the moving averages of gradient and squared gradient of each parameter."""

    step: Tensor
    mean: list[Tensor]
    square: list[Tensor]


def init(params: Tensors) -> AdamState:
    return AdamState(count(), zeros(params), zeros(params))


def update(
    grads: Tensors,
    state: AdamState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], AdamState]:
    """Take a step with bias correction and without weight decay."""
    step = state.step + 1
    return _step(grads, state, hyper, (1 - hyper["beta1"] ** step, 1 - hyper["beta2"] ** step))


def _switched(
    grads: Tensors,
    state: AdamState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], AdamState]:
    """Take a step with bias correction where it is switched on."""
    step, on = state.step + 1, hyper["bias_correction"].bool()
    first, second = (torch.where(on, 1 - hyper[beta] ** step, 1.0) for beta in ("beta1", "beta2"))
    return _step(grads, state, hyper, (first, second))


def _step(
    grads: Tensors, state: AdamState, hyper: Hyper, corrections: tuple[Tensor, Tensor]
) -> tuple[list[Tensor], AdamState]:
    mean = [blend(past, grad, hyper["beta1"]) for grad, past in zip(grads, state.mean, strict=True)]
    square = [blend(past, grad * grad, hyper["beta2"]) for grad, past in zip(grads, state.square, strict=True)]
    # Both corrections are one number a member: m / (sqrt(s) / root + eps) is root m / (sqrt(s) + root eps).
    root = corrections[1].sqrt()
    lr, eps = hyper["lr"] * root / corrections[0], hyper["eps"] * root
    updates = [
        scale(first / (second.sqrt() + align(eps, second)), lr) for first, second in zip(mean, square, strict=True)
    ]
    return updates, AdamState(state.step + 1, mean, square)


RULE = chain(l2, Rule(init, _switched))
