"""A layer's curvature as one dense matrix over all its parameters.

    C = sum_c sum_n w_n g g^T        (C + damping I)^-1 g

Source: Amari, Natural gradient works efficiently in learning, 1998. Shapes: (*, D, D), D parameters in the order of units.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..layers import Layer, Seen, Tensors
from ..operations.gradients import check_size, join, rows, split
from .kronecker import inverse
from .representation import Representation


def _zeros(layer: Layer, params: Tensors) -> tuple[Tensor]:
    units = join(layer, params, 0)
    check_size((units.numel(), units.numel()))
    return (units.new_zeros(units.numel(), units.numel()),)


def _identity(layer: Layer, params: Tensors) -> tuple[Tensor]:
    units = join(layer, params, 0)
    return (torch.eye(units.numel(), dtype=units.dtype, device=units.device),)


def estimate(seen: Seen) -> tuple[Tensor]:
    """Return the matrix (*, D, D)."""
    found = rows(seen).flatten(-2)
    return (found.mT @ found,)


def _inverse(blocks: Sequence[Tensor], damping: Tensor) -> tuple[Tensor]:
    return (inverse(blocks[0], damping.to(blocks[0].dtype)),)


def _apply(inverses: Sequence[Tensor], layer: Layer, grads: Tensors, members: int) -> list[Tensor]:
    units = join(layer, grads, members)
    return split(layer, (inverses[0] @ units.flatten(-2).unsqueeze(-1)).reshape(units.shape))


def dense(blocks: Sequence[Tensor]) -> Tensor:
    """Return the matrix, which is one already."""
    return blocks[0]


BLOCK = Representation(1, _zeros, _identity, estimate, _inverse, _apply, dense)
