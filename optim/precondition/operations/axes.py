"""Which axes a parameter has, for curvature that is a Kronecker product with a factor for each of them."""

import math

import torch


def matrix_shape(shape: torch.Size) -> tuple[int, ...]:
    """Return a parameter's shape as a matrix, of its first axis by all others; vectors stay, a scalar is a vector of one."""
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else vector_shape(shape)


def vector_shape(shape: torch.Size) -> tuple[int, ...]:
    """Return the shape as it is; a scalar is a vector of one."""
    return tuple(shape) or (1,)
