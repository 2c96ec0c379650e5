"""Iterative solutions of C x = b for many members at once, C being known by what it does to vectors.

Rows are (*, d), options (*). Members stop each by itself and get what they get alone. What meets something that is not
finite is not finite.
"""

import torch
from torch import Tensor

from ..rules.matrices import choose
from .matrices.spectral import spectral
from .operations.products import Product


def conjugate_gradients(
    product: Product, right: Tensor, start: Tensor, *, iterations: Tensor, tolerance: Tensor
) -> Tensor:
    """Return x after at most `iterations` from `start`, or where |b - C x| <= tolerance |b|.

    A search direction of negative curvature is the last: it is followed as far as the reverse of its curvature would
    allow, so that x remains a way up from `start` along b. Source: Hestenes and Stiefel, 1952; Steihaug, 1983.
    """
    found, residual = start, _residual(product, right, start)
    along, square = residual, _dot(residual, residual)
    enough = tolerance**2 * _dot(right, right)
    going = ~(square <= enough)
    for number in range(int(iterations.max())):
        going = going & (number < iterations)
        if not bool(going.any()):
            break
        moved = product(along)
        steep = _dot(along, moved)
        length = square / steep.abs()
        found = choose(going, found + _column(length) * along, found)
        residual = residual - _column(length) * moved
        before, square = square, _dot(residual, residual)
        along = residual + _column(square / before) * along
        going = going & ~(steep <= 0) & ~(square <= enough)
    return found


def neumann(product: Product, right: Tensor, start: Tensor, *, terms: Tensor, scale: Tensor) -> Tensor:
    """Return x after so many `terms` of x <- x + (b - C x) / scale, or up to the first along which C does not curve upwards.

    From zero these are the terms of C^-1 = sum_k (I - C / scale)^k / scale, which converge where the eigenvalues of C are
    between 0 and 2 scale. A scale under which b - C x would grow is raised for good to that under which it becomes as
    small as it can. Source: Agarwal et al., Second-Order Stochastic Optimization for Machine Learning in Linear Time, 2017.
    """
    found, residual, scale = start, _residual(product, right, start), scale.to(right.dtype)
    going = torch.ones_like(terms, dtype=torch.bool)
    for number in range(int(terms.max())):
        going = going & (number < terms)
        if not bool(going.any()):
            break
        moved = product(residual)
        steep = _dot(residual, moved)
        best = _dot(moved, moved) / steep
        scale = torch.where((steep > 0) & (2 * scale < best), best, scale)
        found = choose(going, found + residual / _column(scale), found)
        residual = residual - moved / _column(scale)
        going = going & ~(steep <= 0)
    return found


def in_plane(product: Product, right: Tensor, past: Tensor, residual: Tensor) -> Tensor:
    """Return the x in the plane of `past` and `residual` = b - C past that minimises x^T C x / 2 - b^T x.

    Where C has negative curvature in the plane, its absolute value counts.
    """
    lengths = [_column(_dot(each, each).sqrt()) for each in (past, residual)]
    basis = torch.stack([_over(past, lengths[0]), _over(residual, lengths[1])], dim=-2)
    moved = torch.stack([_over(right - residual, lengths[0]), product(basis[..., 1, :])], dim=-2)
    least = torch.finfo(right.dtype).eps * basis.shape[-2]
    inverse = spectral(basis @ moved.mT, lambda values: _reciprocal(values, least))
    return (basis.mT @ inverse @ basis @ right.unsqueeze(-1)).squeeze(-1)


def _reciprocal(values: Tensor, least: float) -> Tensor:
    """Return 1 / |value|, and 0 for what is less than this share of the largest, which is rounding."""
    sizes = values.abs()
    real = sizes > sizes.amax(dim=-1, keepdim=True) * least
    return torch.where(real, 1 / torch.where(real, sizes, 1.0), 0.0)


def _residual(product: Product, right: Tensor, start: Tensor) -> Tensor:
    return right - product(start) if bool(start.any()) else right


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(dim=-1)


def _column(values: Tensor) -> Tensor:
    return values.unsqueeze(-1)


def _over(rows: Tensor, lengths: Tensor) -> Tensor:
    return torch.where(lengths == 0, rows, rows / lengths)
