"""RMSprop, with optional momentum on the scaled gradient.

    g     <- g + weight_decay theta
    S     <- alpha S + (1 - alpha) g^2
    v     <- momentum v + g / (sqrt(S) + eps)
    theta <- theta - lr v

Source: Tieleman and Hinton, Lecture 6.5, 2012; eps outside the root and momentum as in torch.optim.RMSprop.
Shapes: elementwise; options of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it for recurrent networks and other non-stationary objectives.
"""

from typing import NamedTuple

from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, align, blend, chain, scale, zeros


class RmspropState(NamedTuple):
    """The mean of squared gradients and the accumulated step of each parameter."""

    square: list[Tensor]
    velocity: list[Tensor]


def _init(params: Tensors) -> RmspropState:
    return RmspropState(zeros(params), zeros(params))


def _update(
    grads: Tensors,
    state: RmspropState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], RmspropState]:
    square = [blend(past, grad * grad, hyper["alpha"]) for grad, past in zip(grads, state.square, strict=True)]
    momentum, eps = hyper["momentum"], hyper["eps"]
    velocity = [
        past * align(momentum, past) + grad / (mean.sqrt() + align(eps, mean))
        for grad, mean, past in zip(grads, square, state.velocity, strict=True)
    ]
    return [scale(past, hyper["lr"]) for past in velocity], RmspropState(square, velocity)


RULE = chain(l2, Rule(_init, _update))
