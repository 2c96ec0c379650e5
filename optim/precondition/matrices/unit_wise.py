"""A block of curvature for each unit of a layer: an output with its bias, a channel with its scale and shift, a token.

    C_u = sum_c sum_n w_n g_u g_u^T        (C_u + damping I)^-1 g_u

Source: Ollivier, Riemannian metrics for neural networks I: feedforward networks, 2015; of normalisations Osawa et al.,
Scalable and Practical Natural Gradient for Large-Scale Deep Learning, 2020. Shapes: blocks (*, U, k, k).
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
    shape = (*units.shape, units.shape[-1])
    check_size(shape)
    return (units.new_zeros(shape),)


def _identity(layer: Layer, params: Tensors) -> tuple[Tensor]:
    units = join(layer, params, 0)
    eye = torch.eye(units.shape[-1], dtype=units.dtype, device=units.device)
    return (eye.expand(len(units), -1, -1).clone(),)


def estimate(seen: Seen) -> tuple[Tensor]:
    """Return the blocks (*, U, k, k)."""
    found = rows(seen).transpose(seen.members, seen.members + 1)  # (*, U, c n, k)
    return (found.mT @ found,)


def _inverse(blocks: Sequence[Tensor], damping: Tensor) -> tuple[Tensor]:
    return (inverse(blocks[0], damping.to(blocks[0].dtype).unsqueeze(-1)),)


def _apply(inverses: Sequence[Tensor], layer: Layer, grads: Tensors, members: int) -> list[Tensor]:
    units = join(layer, grads, members)
    return split(layer, (inverses[0] @ units.unsqueeze(-1)).squeeze(-1))


def dense(blocks: Sequence[Tensor]) -> Tensor:
    """Return the blocks on the diagonal of one matrix (*, U k, U k)."""
    (found,) = blocks
    eye = torch.eye(found.shape[-3], dtype=found.dtype, device=found.device)
    placed = found.unsqueeze(-2) * eye[:, None, :, None]  # (*, U, k, U, k)
    return placed.flatten(-4, -3).flatten(-2)


UNIT_WISE = Representation(1, _zeros, _identity, estimate, _inverse, _apply, dense)
