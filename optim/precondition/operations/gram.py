"""The curvature of few examples, through the n x n matrix of products between their gradients.

With U = [sqrt(w_1) g_1, ..., sqrt(w_n) g_n], columns the gradients of n examples, the empirical Fisher matrix is U U^T, and

    (U U^T + damping I)^-1 g = (g - U (U^T U + damping I)^-1 U^T g) / damping

by Sherman, Morrison and Woodbury. The gradient of an example is sum_t b_t a_t^T over positions, so none need be formed for
U^T g and U b, and none for the Gram matrix U^T U where positions are few: (a, a') (b, b') summed over pairs of them.

Source: Ren and Goldfarb, Efficient Subsampled Gauss-Newton and Natural Gradient Methods for Training Neural Networks, 2019.
Shapes: columns a (*, G, n, t, d), rows b (*, G, n, t, o); matrices of gradients (*, G, o, d); Gram matrices (*, n, n).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ...transform import align
from ..layers import Layer, Seen, Tensors
from ..modules.kinds import KINDS, MATRIX
from .decompositions import cholesky

# Of the matrix of a layer's parameters: groups, rows, columns.
_AXES = 3


class Examples(NamedTuple):
    """A layer's columns of U, as what multiplies to them; rows carry the roots of the weights."""

    columns: Tensor
    rows: Tensor


def examples(seen: Seen) -> Examples:
    """Return those of a layer of which one vector of each example was seen. No matrix is one of a single row."""
    members, kind = seen.members, seen.layer.kind
    roots = seen.weights[..., None, :, None, None].sqrt()
    if kind not in MATRIX:
        units = KINDS[kind].units(seen).squeeze(members).flatten(members + 1)
        return Examples(units.unsqueeze(members).unsqueeze(-2), roots.to(units.dtype))
    rows = MATRIX[kind].rows(seen).squeeze(members)
    return Examples(MATRIX[kind].columns(seen), rows * roots.to(rows.dtype))


def join(layer: Layer, tensors: Tensors, members: int) -> Tensor:
    """Return the layer's parameters, or gradients of them, as the matrix that rows and columns multiply to."""
    if layer.kind in MATRIX:
        return MATRIX[layer.kind].join(layer, tensors, members)
    return KINDS[layer.kind].join(layer, tensors, members).flatten(members)[..., None, None, :]


def split(layer: Layer, matrix: Tensor, like: Tensors) -> list[Tensor]:
    """Return them, shaped as `like`, from the matrix."""
    if layer.kind in MATRIX:
        return MATRIX[layer.kind].split(layer, matrix, like)
    units = KINDS[layer.kind].join(layer, like, matrix.ndim - _AXES)
    return KINDS[layer.kind].split(layer, matrix.reshape(units.shape))


def gram(own: Examples) -> Tensor:
    """Return the layer's part of U^T U."""
    columns, rows = own
    positions, size = columns.shape[-2], columns.shape[-1] * rows.shape[-1]
    if positions**2 * (columns.shape[-1] + rows.shape[-1]) > size:
        flat = (rows.mT @ columns).flatten(-2)
        return (flat @ flat.mT).sum(dim=-3)
    pairs = [part.flatten(-3, -2) @ part.flatten(-3, -2).mT for part in own]
    each = (pairs[0] * pairs[1]).reshape(*columns.shape[:-2], positions, *columns.shape[-3:-1])
    return each.sum(dim=(-3, -1)).sum(dim=-3)


def products(own: Examples, matrix: Tensor) -> Tensor:
    """Return the layer's part of U^T g (*, n), of its part of g as a matrix."""
    return ((own.rows @ matrix.unsqueeze(-3)) * own.columns).sum(dim=(-2, -1)).sum(dim=-2)


def combined(own: Examples, amounts: Tensor) -> Tensor:
    """Return the layer's part of U b, as a matrix, of amounts b (*, n)."""
    rows = own.rows * amounts[..., None, :, None, None].to(own.rows.dtype)
    return rows.flatten(-3, -2).mT @ own.columns.flatten(-3, -2)


def solve(products: Tensor, matrix: Tensor, damping: Tensor) -> Tensor:
    """Return (K + damping I)^-1 v (*, n) of a Gram matrix K and v (*, n); not finite where there is none."""
    lower, failed = cholesky(matrix, damping.to(matrix.dtype))
    found = torch.cholesky_solve(products.unsqueeze(-1), lower).squeeze(-1)
    return torch.where(failed.unsqueeze(-1), torch.nan, found)


def remainder(matrix: Tensor, own: Examples, amounts: Tensor, damping: Tensor) -> Tensor:
    """Return (g - U b) / damping of the layer's part of g."""
    return (matrix - combined(own, amounts)) / align(damping, matrix)
