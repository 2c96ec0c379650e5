"""RMSprop, plain or centred, with optional momentum on the scaled gradient.

    g     <- g + weight_decay theta
    S     <- alpha S + (1 - alpha) g^2
    m     <- alpha m + (1 - alpha) g
    q      = S, or with `centered` the variance S - m^2
    v     <- momentum v + g / (sqrt(q) + eps)
    theta <- theta - lr v

Source: Tieleman and Hinton, Lecture 6.5, 2012; centred in Graves, Generating Sequences With Recurrent Neural
Networks, 2013; eps outside the root and momentum as in torch.optim.RMSprop.
Shapes: elementwise; options of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it for recurrent networks and other non-stationary objectives.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, align, blend, chain, off, scale, zeros


class RmspropState(NamedTuple):
    """The means of squared gradients and of gradients and the accumulated step of each parameter.

    The mean of gradients stays 0 where nothing is centred.
    """

    square: list[Tensor]
    mean: list[Tensor]
    velocity: list[Tensor]


def _init(params: Tensors) -> RmspropState:
    return RmspropState(zeros(params), zeros(params), zeros(params))


def _update(
    grads: Tensors,
    state: RmspropState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], RmspropState]:
    alpha, momentum, eps = hyper["alpha"], hyper["momentum"], hyper["eps"]
    square = [blend(past, grad * grad, alpha) for grad, past in zip(grads, state.square, strict=True)]
    mean, power = state.mean, square
    if not off(hyper["centered"]):
        mean = [blend(past, grad, alpha) for grad, past in zip(grads, state.mean, strict=True)]
        power = _centred(square, mean, hyper["centered"])
    velocity = [
        past * align(momentum, past) + grad / (each.sqrt() + align(eps, each))
        for grad, each, past in zip(grads, power, state.velocity, strict=True)
    ]
    return [scale(past, hyper["lr"]) for past in velocity], RmspropState(square, list(mean), velocity)


def _centred(square: list[Tensor], mean: list[Tensor], centered: Tensor) -> list[Tensor]:
    """Return variances where `centered` is set. Rounding may take one below zero, which it is not."""
    return [
        torch.where(align(centered, first).bool(), (second - first * first).clamp(min=0), second)
        for first, second in zip(mean, square, strict=True)
    ]


RULE = chain(l2, Rule(_init, _update))
