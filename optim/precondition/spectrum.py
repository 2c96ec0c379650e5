"""Eigenvalues, trace, diagonal and density of a symmetric matrix that is known by its products with vectors alone.

The matrix is (d, d), or one for each member; vectors are rows (*, d), and many of them (c, *, d) are multiplied in one go:
`products.product_of` makes such products of a mini-batch's Hessian or Gauss-Newton matrix, which for the losses here is
the Fisher information. Give float64 where eigenvalues far apart matter.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..rules.matrices import choose
from . import draws
from .operations.products import Product


class Estimate(NamedTuple):
    """A mean over random vectors, and its standard error."""

    value: Tensor
    error: Tensor


class Tridiagonal(NamedTuple):
    """A matrix as Lanczos' method sees it: Q A Q^T with rows of Q orthonormal, (*, m, d), has these diagonals.

    `diagonal` is (*, m), `beside` the ones above and below it (*, m - 1).
    """

    diagonal: Tensor
    beside: Tensor
    basis: Tensor


class Quadrature(NamedTuple):
    """Where the eigenvalues are, and what share of them: `nodes` and `weights` (c, *, m), the weights of a vector in sum 1."""

    nodes: Tensor
    weights: Tensor


def signs(key: Tensor, count: int, like: Tensor) -> Tensor:
    """Return so many rows like `like` (*, d) of -1 and 1, (c, *, d); `key` (*) decides which."""
    drawn = [draws.signs(key, like.shape[-1], salt=number) for number in range(count)]
    return torch.stack(drawn).to(like.dtype)


def power(product: Product, start: Tensor, iterations: int) -> Tensor:
    """Return the eigenvalue that is largest in size, (*), by so many multiplications of `start` (*, d)."""
    vector = _unit(start)
    for _ in range(iterations):
        vector = _unit(product(vector))
    return _dot(vector, product(vector))


def lanczos(product: Product, start: Tensor, iterations: int) -> Tridiagonal:
    """Return the matrix on the space of start, A start, A^2 start, ...; of d dimensions at most."""
    # One after the other: each has vectors of its own, and many at once would not fit.
    steps = growing(product, start, iterations)
    last = next(steps)
    for last in steps:  # noqa: B007 - the last is what is wanted
        pass
    return last


def growing(product: Product, start: Tensor, iterations: int) -> Iterator[Tridiagonal]:
    """Yield the matrix on spaces of 1, 2, ... dimensions, each for one product more; of d at most, at least one.

    Each new vector is made orthogonal to all before it. Where there is none left, another direction goes on, with 0 beside
    the diagonal. Source: Lanczos, 1950; full orthogonalisation as in Golub and Van Loan, Matrix Computations, 10.3.
    """
    vector = _unit(start)
    basis: list[Tensor] = [vector]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    dimensions, empty = max(1, min(iterations, start.shape[-1])), start.new_zeros(*start.shape[:-1], 0)
    while True:
        moved, rows = product(vector), torch.stack(basis, dim=-2)
        diagonal.append(_dot(vector, moved))
        yield Tridiagonal(torch.stack(diagonal, dim=-1), torch.stack(beside, dim=-1) if beside else empty, rows)
        if len(diagonal) == dimensions:
            return
        vector, length = _another(moved, rows)
        basis.append(vector)
        beside.append(length)


def ritz(tridiagonal: Tridiagonal) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues (*, m), in rising order, and eigenvectors in columns (*, m, m), of a tridiagonal matrix."""
    diagonal, beside, _ = tridiagonal
    upper = torch.diag_embed(beside, offset=1)
    values, vectors = torch.linalg.eigh(torch.diag_embed(diagonal) + upper + upper.mT)
    return values, vectors


def largest(product: Product, start: Tensor, count: int, iterations: int) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues, (*, count) in falling order, and their eigenvectors, rows (*, count, d).

    The more iterations, the closer; `start` (*, d) should have a part along each, as random vectors do.
    """
    tridiagonal = lanczos(product, start, iterations)
    values, vectors = ritz(tridiagonal)
    rows = vectors.mT.flip(-2)[..., :count, :] @ tridiagonal.basis
    return values.flip(-1)[..., :count], rows


def trace(product: Product, probes: Tensor) -> Estimate:
    """Return the trace from random rows (c, *, d) that are on the mean the identity, such as signs (Hutchinson, 1989)."""
    found = _dot(probes, product(probes))
    return Estimate(found.mean(dim=0), found.std(dim=0) / math.sqrt(len(probes)))


def trace_by_sketch(product: Product, sketch: Tensor, probes: Tensor) -> Estimate:
    """Return the trace: of what lies along A sketch exactly, of the rest from `probes`; both (c, *, d).

    Better where a few eigenvalues are most of it. Source: Meyer et al., Hutch++: Optimal Stochastic Trace Estimation, 2021.
    """
    basis = torch.linalg.qr(product(sketch).movedim(0, -1)).Q.mT
    rows = basis.movedim(-2, 0)
    known = _dot(rows, product(rows)).sum(dim=0)
    rest = trace(product, _less(probes, basis))
    return Estimate(known + rest.value, rest.error)


def diagonal(product: Product, probes: Tensor) -> Tensor:
    """Return the diagonal (*, d) from random rows (c, *, d) (Bekas et al., An estimator for the diagonal of a matrix, 2007)."""
    return (probes * product(probes)).sum(dim=0) / probes.square().sum(dim=0)


def quadrature(product: Product, probes: Tensor, iterations: int) -> Quadrature:
    """Return nodes whose weighted mean over random rows (c, *, d) of f(node) estimates that of f over all eigenvalues.

    Source: stochastic Lanczos quadrature; Ubaru, Chen and Saad, Fast estimation of tr(f(A)), 2017.
    """
    return nodes_of(lanczos(product, probes, iterations))


def nodes_of(tridiagonal: Tridiagonal) -> Quadrature:
    """Return the nodes of the matrix as the vectors saw it that its space began with."""
    values, vectors = ritz(tridiagonal)
    return Quadrature(values, vectors[..., 0, :].square())


def density(found: Quadrature, at: Tensor, width: Tensor) -> Tensor:
    """Return the density of eigenvalues at the places (g,), seen through a normal curve of `width`, as (*, g).

    Source: Ghorbani, Krishnan and Xiao, An Investigation into Neural Net Optimization via Hessian Eigenvalue Density, 2019.
    """
    apart = (at.unsqueeze(-1) - found.nodes.unsqueeze(-2)) / width
    curves = torch.exp(-apart.square() / 2) / (width * math.sqrt(2 * math.pi))
    return (curves * found.weights.unsqueeze(-2)).sum(dim=-1).mean(dim=0)


def _another(moved: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Return the unit vector along what of `moved` is orthogonal to the basis, and its length: any other, and 0, if none is."""
    left = _less(moved, basis)
    length, whole = left.norm(dim=-1), moved.norm(dim=-1)
    spent = ~(length > whole * torch.finfo(moved.dtype).eps * moved.shape[-1])
    if bool(spent.any()):
        key = torch.zeros(moved.shape[:-1], dtype=torch.int64, device=moved.device)
        fresh = draws.uniform(key, moved.shape[-1], salt=basis.shape[-2]).to(moved.dtype) - 0.5
        left = choose(spent, _less(fresh, basis), left)
    return _unit(left), torch.where(spent, 0.0, length)


def _less(rows: Tensor, basis: Tensor) -> Tensor:
    """Return rows (..., *, d) without their parts along an orthonormal basis (*, m, d); twice, for rounding."""
    for _ in range(2):
        rows = rows - ((basis @ rows.unsqueeze(-1)).mT @ basis).squeeze(-2)
    return rows


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(dim=-1)


def _unit(rows: Tensor) -> Tensor:
    found: Tensor = rows / rows.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    return found
