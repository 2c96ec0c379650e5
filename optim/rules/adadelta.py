"""AdaDelta: steps in the units of the parameters, from the ratio of two running root mean squares.

    g     <- g + weight_decay theta
    S     <- rho S + (1 - rho) g^2
    d     <- sqrt(D + eps) / sqrt(S + eps) g
    D     <- rho D + (1 - rho) d^2                               S and D start at 0
    theta <- theta - lr d

Source: Zeiler, ADADELTA: An Adaptive Learning Rate Method, 2012; rate and weight decay as in torch.optim.Adadelta.
Shapes: elementwise; options of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it where no rate is known: 1 is the published rule.
"""

from typing import NamedTuple

from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, align, blend, chain, scale, zeros


class AdadeltaState(NamedTuple):
    """The means of squared gradients and of squared steps of each parameter."""

    square: list[Tensor]
    moved: list[Tensor]


def _init(params: Tensors) -> AdadeltaState:
    return AdadeltaState(zeros(params), zeros(params))


def _update(
    grads: Tensors,
    state: AdadeltaState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], AdadeltaState]:
    rho, eps = hyper["rho"], hyper["eps"]
    square = [blend(past, grad * grad, rho) for grad, past in zip(grads, state.square, strict=True)]
    steps = [
        grad * ((past + align(eps, past)).sqrt() / (mean + align(eps, mean)).sqrt())
        for grad, mean, past in zip(grads, square, state.moved, strict=True)
    ]
    moved = [blend(past, step * step, rho) for step, past in zip(steps, state.moved, strict=True)]
    return [scale(step, hyper["lr"]) for step in steps], AdadeltaState(square, moved)


RULE = chain(l2, Rule(_init, _update))
