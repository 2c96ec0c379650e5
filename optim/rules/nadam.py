"""NAdam: Adam whose mean of gradients looks one step ahead, as Nesterov's momentum does, with L2 weight decay.

    g     <- g + weight_decay theta
    m     <- beta1 m + (1 - beta1) g
    s     <- beta2 s + (1 - beta2) g^2
    u_t    = beta1 (1 - 0.96^(t momentum_decay) / 2)             t from 1
    U     <- U u_t                                               U starts at 1
    theta <- theta - lr ((1 - u_t) g / (1 - U) + u_{t+1} m / (1 - U u_{t+1})) / (sqrt(s / (1 - beta2^t)) + eps)

Source: Dozat, Incorporating Nesterov Momentum into Adam, 2016; options as in torch.optim.NAdam.
Shapes: elementwise; options, step count and U of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it in place of Adam where momentum is high and the rate well tuned.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, align, blend, chain, count, scale, zeros


class NadamState(NamedTuple):
    """Steps and the product of the momenta so far, and the moving averages of gradient and squared gradient."""

    step: Tensor
    product: Tensor
    mean: list[Tensor]
    square: list[Tensor]


def init(params: Tensors) -> NadamState:
    # torch keeps the product in the default dtype, and so do we: in float32 its rounding shows in the tenth digit.
    return NadamState(count(), torch.ones(()), zeros(params), zeros(params))


def update(
    grads: Tensors,
    state: NadamState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], NadamState]:
    """Take a step without weight decay."""
    step = state.step + 1
    now, ahead = _momentum(step, hyper), _momentum(step + 1, hyper)
    stored = state.product * now.to(state.product.dtype)
    product = stored.double()
    mean = [blend(past, grad, hyper["beta1"]) for grad, past in zip(grads, state.mean, strict=True)]
    square = [blend(past, grad * grad, hyper["beta2"]) for grad, past in zip(grads, state.square, strict=True)]
    fresh, past = (1 - now) / (1 - product), ahead / (1 - product * ahead)
    eps, correction = hyper["eps"], (1 - hyper["beta2"] ** step).sqrt()
    updates = [
        scale(
            (grad * align(fresh, grad) + first * align(past, first))
            / (second.sqrt() / align(correction, second) + align(eps, second)),
            hyper["lr"],
        )
        for grad, first, second in zip(grads, mean, square, strict=True)
    ]
    return updates, NadamState(step, stored, mean, square)


def _momentum(step: Tensor, hyper: Hyper) -> Tensor:
    return hyper["beta1"] * (1 - 0.96 ** (step * hyper["momentum_decay"]) / 2)


RULE = chain(l2, Rule(init, update))
