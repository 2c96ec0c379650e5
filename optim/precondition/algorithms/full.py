"""The natural gradient of all layers at once, with one dense matrix over all their parameters.

    F = sum_c sum_n w_n g g^T        (F + damping I)^-1 g

Source: Amari, Natural gradient works efficiently in learning, 1998. Shapes: (*, D, D), D parameters, layer after layer.
"""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from ...rules.matrices import cast
from ...transform import Hyper, Rule, Tensors
from ..batch import Batch
from ..layers import Layer, Seen
from ..matrices.kronecker import inverse
from ..operations.gradients import check_size, join, rows, split
from ..operations.sources import from_sources
from .natural import natural, of
from .scheduled import Algorithm, PreconditionState, scheduled


def full(layers: Sequence[Layer]) -> Rule[PreconditionState]:
    """Return the link for these layers. Its `init` raises ValueError for more parameters than a dense matrix is held of."""
    if not layers:
        return natural((), {})

    def joined(tensors: Tensors, members: int) -> list[Tensor]:
        return [join(layer, of(layer, tensors), members) for layer in layers]

    def init(params: Tensors) -> tuple[list[Tensor], list[Tensor]]:
        units = joined(params, 0)
        size = sum(part.numel() for part in units)
        check_size((size, size))
        matrix = torch.eye(size, dtype=_widest(units), device=units[0].device)
        return [torch.zeros_like(matrix)], [matrix]

    def estimate(batch: Batch, state: PreconditionState, hyper: Hyper) -> list[Tensor]:
        return from_sources(batch, state.step, hyper, matrix)

    def invert(curvature: Sequence[Tensor], hyper: Hyper) -> list[Tensor]:
        return [inverse(curvature[0], hyper["damping"].to(curvature[0].dtype))]

    def apply(inverses: Sequence[Tensor], grads: Tensors, hyper: Hyper, batch: Batch) -> list[Tensor]:
        del batch
        units, found = joined(grads, hyper["damping"].ndim), list(grads)
        flat = torch.cat([part.flatten(-2) for part in units], dim=-1)
        moved = (inverses[0] @ flat.unsqueeze(-1)).squeeze(-1)
        cut = torch.split(moved, [part.shape[-2:].numel() for part in units], dim=-1)
        for layer, part, like in zip(layers, cut, units, strict=True):
            for place, grad in zip(layer.places, split(layer, part.reshape(like.shape)), strict=True):
                found[place] = cast(grad, grads[place].dtype)
        return found

    return scheduled(Algorithm(init, estimate, invert, apply))


def _widest(tensors: Sequence[Tensor]) -> torch.dtype:
    """Return the precision that all tensors together have."""
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors))


def matrix(seen: Sequence[Seen]) -> list[Tensor]:
    """Return the curvature of all layers together, (*, D, D)."""
    found = torch.cat([rows(each).flatten(-2) for each in seen], dim=-1)
    return [found.mT @ found]
