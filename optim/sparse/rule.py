"""What a run keeps of the trainer `sparse_sgd` between its batches, as an update rule keeps its state."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..transform import Hyper, Rule, Tensors


class ScaledState(NamedTuple):
    """The weights are `scale` (), float64, times what is stored."""

    scale: Tensor


def _init(params: Tensors) -> ScaledState:  # noqa: ARG001 - every rule takes them
    return ScaledState(torch.ones((), dtype=torch.float64))


def _update(
    grads: Tensors,  # noqa: ARG001 - every rule takes them
    state: ScaledState,  # noqa: ARG001
    params: Tensors,  # noqa: ARG001
    hyper: Hyper,  # noqa: ARG001
) -> tuple[list[Tensor], ScaledState]:
    """Raise TypeError: there is no dense gradient to take."""
    raise TypeError("sparse_sgd steps a network itself: use optim.sparse.trainer")


def _view(params: Tensors, state: ScaledState, hyper: Hyper) -> list[Tensor]:  # noqa: ARG001 - every view takes them
    weights, *others = params
    return [weights * state.scale.item(), *others] if state.scale != 1 else list(params)


# Its parameters are weights (m, d) and signs (m, C).
RULE = Rule(_init, _update, _view)
