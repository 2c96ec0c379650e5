"""Gradients of single examples as rows, whose products are curvature; and how large a matrix of it may be."""

import math
from collections.abc import Sequence

from torch import Tensor

from ..layers import Layer, Seen, Tensors
from ..modules.kinds import KINDS

# Rows and columns of a dense matrix: float32 of that takes 256 MiB, and its inverse as much.
LARGEST = 8192


def rows(seen: Seen) -> Tensor:
    """Return g sqrt(w) of each vector and example, (*, c n, U, k): the sum of their outer products is the curvature."""
    members = seen.members
    units = KINDS[seen.layer.kind].units(seen)
    roots = seen.weights.to(units.dtype).sqrt().reshape(*seen.weights.shape[:members], 1, -1, 1, 1)
    return (units * roots).flatten(members, members + 1)


def join(layer: Layer, tensors: Tensors, members: int) -> Tensor:
    """Return a layer's parameters, or gradients of them, as its units (*, U, k)."""
    return KINDS[layer.kind].join(layer, tensors, members)


def split(layer: Layer, units: Tensor) -> list[Tensor]:
    """Return them from units."""
    return KINDS[layer.kind].split(layer, units)


def check_size(shape: Sequence[int]) -> None:
    """Raise ValueError for matrices (..., d, d) that hold more than the largest one that is held."""
    if math.prod(shape) > LARGEST**2:
        raise ValueError(
            f"curvature of {' x '.join(map(str, shape))} numbers is more than {LARGEST} x {LARGEST}: hold it in smaller "
            "parts, as kfac, ngd_unit or ngd_diagonal do"
        )
