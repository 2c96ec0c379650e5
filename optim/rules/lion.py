"""Lion (evolved sign momentum), with decoupled weight decay.

    c     <- beta1 m + (1 - beta1) g
    theta <- theta - lr (sign(c) + weight_decay theta)
    m     <- beta2 m + (1 - beta2) g

Source: Chen et al., Symbolic Discovery of Optimization Algorithms, 2023.
Shapes: elementwise; options of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it where optimizer state must be small: one tensor for each parameter, with rates 3 to 10 times below AdamW's.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..links.decay import decoupled
from ..transform import Hyper, Rule, Tensors, blend, chain, scale, zeros


class LionState(NamedTuple):
    """The moving average of gradients of each parameter."""

    mean: list[Tensor]


def _init(params: Tensors) -> LionState:
    return LionState(zeros(params))


def _update(
    grads: Tensors,
    state: LionState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], LionState]:
    pairs = list(zip(grads, state.mean, strict=True))
    updates = [scale(_sign(blend(past, grad, hyper["beta1"])), hyper["lr"]) for grad, past in pairs]
    return updates, LionState([blend(past, grad, hyper["beta2"]) for grad, past in pairs])


def _sign(direction: Tensor) -> Tensor:
    # The sign of NaN is 0 in torch: a run that broke would stand still and look sound.
    return torch.where(direction.isnan(), direction, direction.sign())


RULE = chain(Rule(_init, _update), decoupled)
