"""Adam (adaptive moment estimation), with L2 weight decay.

    g     <- g + weight_decay theta
    m     <- beta1 m + (1 - beta1) g
    s     <- beta2 s + (1 - beta2) g^2
    theta <- theta - lr m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + eps)          t from 1

Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015; weight decay as in torch.optim.Adam.
Shapes: elementwise; options and the step count of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it as a first choice that works with little tuning.
"""

from typing import NamedTuple

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
    """Take a step without weight decay."""
    step = state.step + 1
    beta1, beta2, eps = hyper["beta1"], hyper["beta2"], hyper["eps"]
    mean = [blend(past, grad, beta1) for grad, past in zip(grads, state.mean, strict=True)]
    square = [blend(past, grad * grad, beta2) for grad, past in zip(grads, state.square, strict=True)]
    # Both corrections are one number a member, so they are applied where they cost one operation each.
    lr, correction = hyper["lr"] / (1 - beta1**step), (1 - beta2**step).sqrt()
    updates = [
        scale(first / (second.sqrt() / align(correction, second) + align(eps, second)), lr)
        for first, second in zip(mean, square, strict=True)
    ]
    return updates, AdamState(step, mean, square)


RULE = chain(l2, Rule(init, update))
