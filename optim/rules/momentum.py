"""SGD with momentum, in the accumulating form of torch.optim.SGD without dampening.

    v     <- momentum v + g + weight_decay theta
    theta <- theta - lr v

Source: Polyak, 1964; Sutskever et al., On the importance of initialization and momentum in deep learning, 2013.
Shapes: elementwise; options of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it for convolutional and other well-scaled networks; the step grows to lr / (1 - momentum) along a steady slope.
"""

from typing import NamedTuple

from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, align, chain, scale, zeros


class MomentumState(NamedTuple):
    """The accumulated gradient of each parameter."""

    velocity: list[Tensor]


def init(params: Tensors) -> MomentumState:
    return MomentumState(zeros(params))


def accumulate(grads: Tensors, state: MomentumState, hyper: Hyper) -> list[Tensor]:
    """Return the new velocities."""
    momentum = hyper["momentum"]
    return [past * align(momentum, past) + grad for grad, past in zip(grads, state.velocity, strict=True)]


def _update(
    grads: Tensors,
    state: MomentumState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], MomentumState]:
    velocity = accumulate(grads, state, hyper)
    return [scale(past, hyper["lr"]) for past in velocity], MomentumState(velocity)


RULE = chain(l2, Rule(init, _update))
