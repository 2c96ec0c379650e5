"""AdaGrad.

    g     <- g + weight_decay theta
    G     <- G + g^2                                             G starts at 0, t at 1
    theta <- theta - lr / (1 + (t - 1) lr_decay) g / (sqrt(G + initial_accumulator_value) + eps)

Source: Duchi, Hazan and Singer, 2011; options as in torch.optim.Adagrad. The start value of the sum is added where
it is used and not stored, so that a state does not depend on hyperparameters.
Shapes: elementwise; options of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it for sparse features, such as embeddings and bags of words; its rates only ever shrink.
"""

from typing import NamedTuple

from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, align, chain, count, scale, zeros


class AdagradState(NamedTuple):
    """Steps taken so far and the sum of squared gradients of each parameter."""

    step: Tensor
    total: list[Tensor]


def _init(params: Tensors) -> AdagradState:
    return AdagradState(count(), zeros(params))


def _update(
    grads: Tensors,
    state: AdagradState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], AdagradState]:
    total = [past + grad * grad for grad, past in zip(grads, state.total, strict=True)]
    lr = hyper["lr"] / (1 + state.step * hyper["lr_decay"])
    start, eps = hyper["initial_accumulator_value"], hyper["eps"]
    updates = [
        scale(grad / ((past + align(start, past)).sqrt() + align(eps, past)), lr)
        for grad, past in zip(grads, total, strict=True)
    ]
    return updates, AdagradState(state.step + 1, total)


RULE = chain(l2, Rule(_init, _update))
