"""Kronecker factors of a layer's curvature, A of its inputs and B of its slopes: C is about A (x) B.

    A = sum_n w_n (1/t) sum_t a a^T        B = sum_c sum_n w_n sum_t g g^T

of inputs a and slopes g at t positions. Damping lambda is split between the two by their mean eigenvalues:
A + pi sqrt(lambda) I and B + sqrt(lambda) / pi I, pi^2 = (tr A / d) / (tr B / o).

Source: Martens and Grosse, Optimizing Neural Networks with Kronecker-factored Approximate Curvature, 2015; Grosse and
Martens, A Kronecker-factored approximate Fisher matrix for convolution layers, 2016. Shapes: factors (*, G, d, d) and
(*, G, o, o), G groups of a convolution; damping of shape ().
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..layers import Layer, Seen, Tensors
from ..modules.kinds import MATRIX
from ..modules.linear import widths
from ..operations.decompositions import cholesky
from .representation import Representation

# The axes of the matrices of a layer's groups where there is no axis of members.
_ALONE = 3


class Factors(NamedTuple):
    """A and B, or their damped inverses."""

    inputs: Tensor
    slopes: Tensor


def _zeros(layer: Layer, params: Tensors) -> Factors:
    matrix = MATRIX[layer.kind].join(layer, params, 0)
    groups, rows, columns = matrix.shape
    return Factors(matrix.new_zeros(groups, columns, columns), matrix.new_zeros(groups, rows, rows))


def _identity(layer: Layer, params: Tensors) -> Factors:
    zeros = _zeros(layer, params)
    return Factors(
        *(torch.eye(each.shape[-1], dtype=each.dtype, device=each.device).expand_as(each).clone() for each in zeros)
    )


def estimate(seen: Seen) -> Factors:
    """Return the factors of a layer whose weight is a matrix."""
    inputs, slopes = roots(seen)
    return Factors(product(inputs.mT, inputs), product(slopes.mT, slopes))


def roots(seen: Seen) -> Factors:
    """Return roots X of the factors X^T X: (*, G, n t, d) of inputs, (*, G, c n t, o) of slopes."""
    kind, members = MATRIX[seen.layer.kind], seen.members
    columns, rows = kind.columns(seen), kind.rows(seen)
    columns = columns.flatten(-3, -2) * spread(seen.weights / columns.shape[-2], columns).sqrt_()
    rows = rows.flatten(-3, -2) * spread(seen.weights, rows, vectors=1).sqrt_()
    rows = rows.movedim(members, -3).flatten(-3, -2)  # vectors and examples are one long axis
    return Factors(columns, rows)


def spread(weights: Tensor, like: Tensor, *, vectors: int = 0) -> Tensor:
    """Return weights (*, n) for all positions of (*, [c,] G, n, t, d), shaped to stand beside that as (*, [c,] G, n t, d)."""
    positions = like.shape[-2]
    repeated = weights.repeat_interleave(positions, dim=-1) if positions > 1 else weights
    return repeated.to(like.dtype, copy=True).reshape(*weights.shape[:-1], *(1,) * vectors, 1, -1, 1)


def damped_inverse(factors: Sequence[Tensor], damping: Tensor) -> Factors:
    """Return the inverses with damping (*,), not finite where a factor is not."""
    means = [factor.diagonal(dim1=-2, dim2=-1).mean(dim=-1) for factor in factors]
    return Factors(*(inverse(factor, own) for factor, own in zip(factors, split_damping(means, damping), strict=True)))


def split_damping(means: Sequence[Tensor], damping: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much of damping (*,) is added to A and how much to B, of mean eigenvalues (*, G)."""
    pi = ratio(*means)
    root = damping.to(pi.dtype).sqrt().reshape(damping.shape + (1,) * (pi.ndim - damping.ndim))
    return root * pi, root / pi


def ratio(inputs: Tensor, slopes: Tensor) -> Tensor:
    """Return pi (...) of mean eigenvalues of factors (...); 1 where one of them is zero."""
    return torch.where((inputs > 0) & (slopes > 0), (inputs / slopes).sqrt(), 1.0)


def inverse(matrix: Tensor, damping: Tensor) -> Tensor:
    """Return (M + damping I)^-1 by Cholesky, (..., d, d) with damping (...); not finite where there is none."""
    lower, failed = cholesky(matrix, damping)
    return torch.cholesky_inverse(lower).masked_fill_(failed[..., None, None], torch.nan)


def apply(inverses: Sequence[Tensor], layer: Layer, grads: Tensors, members: int) -> list[Tensor]:
    """Return B^-1 G A^-1 of the layer's gradients."""
    inputs, slopes = inverses
    turned = product(slopes, MATRIX[layer.kind].join(layer, grads, members))
    # Part by part, so that none is a view of a larger matrix.
    parts = inputs.split_with_sizes(widths(layer, inputs.shape[-1]), dim=-1)
    return [product(turned, part).view_as(like) for part, like in zip(parts, grads, strict=True)]


def product(one: Tensor, other: Tensor) -> Tensor:
    """Return the product of matrices (*, G, ., .), or one of G for all; `@` takes a third longer for small ones of one model."""
    plain = one.ndim == other.ndim == _ALONE and one.shape[0] == other.shape[0]
    return torch.bmm(one, other) if plain else one @ other


def dense(factors: Sequence[Tensor]) -> Tensor:
    """Return B (x) A as one matrix for each group (*, G, o d, o d), in the order of the flattened (o, d)."""
    inputs, slopes = factors
    product = slopes[..., :, None, :, None] * inputs[..., None, :, None, :]
    size = slopes.shape[-1] * inputs.shape[-1]
    return product.reshape(*product.shape[:-4], size, size)


KRONECKER = Representation(2, _zeros, _identity, estimate, damped_inverse, apply, dense)
