"""Stochastic gradient descent.

    theta <- theta - lr (g + weight_decay theta)

Source: Robbins and Monro, A Stochastic Approximation Method, 1951; weight decay as in torch.optim.SGD.
Shapes: elementwise; options of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it as the baseline, and where memory for optimizer state is short.
"""

from typing import NamedTuple

from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, chain, scale


class SgdState(NamedTuple):
    """Nothing is kept between steps."""


def _init(params: Tensors) -> SgdState:  # noqa: ARG001 - every rule takes them
    return SgdState()


def _update(
    grads: Tensors,
    state: SgdState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], SgdState]:
    return [scale(grad, hyper["lr"]) for grad in grads], state


RULE = chain(l2, Rule(_init, _update))
