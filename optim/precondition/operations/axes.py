"""Tensors along one axis at a time, for curvature that is a Kronecker product with a factor for each axis.

The product of Q_1 (x) ... (x) Q_k with a tensor multiplies each axis i by Q_i. Shapes: tensors (*, n_1, ..., n_k), `members`
being the number of member axes in front (0 or 1); unfolded along axis i they are (*, n_i, all the others).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def matrix_shape(shape: torch.Size) -> tuple[int, ...]:
    """Return a parameter's shape as a matrix, of its first axis by all others; vectors stay, a scalar is a vector of one."""
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else vector_shape(shape)


def vector_shape(shape: torch.Size) -> tuple[int, ...]:
    """Return the shape as it is; a scalar is a vector of one."""
    return tuple(shape) or (1,)


def unfolded(tensor: Tensor, axis: int, members: int) -> Tensor:
    """Return the tensor as (*, n_i, all the others)."""
    moved = tensor.movedim(members + axis, members)
    return moved.reshape(*moved.shape[: members + 1], -1)


def along(tensor: Tensor, axis: int, members: int, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the tensor with `function`, which keeps shapes, applied to it unfolded along an axis."""
    moved = tensor.movedim(members + axis, members)
    return function(unfolded(tensor, axis, members)).reshape(moved.shape).movedim(members, members + axis)
