"""Inverse p-th roots of symmetric positive semidefinite matrices: (M + eps max(lambda) I)^(-1/p).

By eigendecomposition, or by the coupled Newton iteration, which only multiplies: with A = M + eps max(lambda) I,
z = 1 / max(lambda(A)), X = z^(1/p) I and N = z A to begin with,

    T = ((1 + p) I - N) / p,    X <- X T,    N <- T^p N        until N is I, and then X = A^(-1/p).

Eigenvalues of N rise to 1 from below, so the error, the largest entry of I - N, falls but for rounding. A matrix of zeros has the identity for its root: there, nothing is known.

Source: Guo and Higham, A Schur-Newton method for the matrix pth root and its inverse, 2006; as used by Anil et al.,
Scalable second order optimization for deep learning, 2020. Shapes: matrices (..., d, d), eps such that it broadcasts
against (...). Matrices that are not finite have roots that are none either.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

from .. import draws

Root: TypeAlias = Callable[[Tensor, int, Tensor], Tensor]
_ITERATIONS = 100
_POWERS = 50
# At which error, in units of the last place, an iterate is as good as any.
_ACCURATE = 10
# By which factor the error of an iterate may grow before it is left.
_WORSE = 1.2


def by_eigendecomposition(matrix: Tensor, power: int, eps: Tensor) -> Tensor:
    """Return the roots from eigenvalues, negative ones, which come of rounding, taken for zero."""
    values, vectors = torch.linalg.eigh(matrix)
    values = values.clamp(min=0)
    largest = values[..., -1]
    values = torch.where((largest > 0).unsqueeze(-1), values + (eps * largest).unsqueeze(-1), 1.0)
    found: Tensor = (vectors * values.pow(-1 / power).unsqueeze(-2)) @ vectors.mT
    return found


def by_newton(matrix: Tensor, power: int, eps: Tensor) -> Tensor:
    """Return the roots by the coupled Newton iteration; each matrix stops where its own error is nil or grows."""
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    size = largest_eigenvalue(matrix)
    known = (size > 0)[..., None, None]
    ridged = torch.where(known, matrix + (eps * size)[..., None, None] * identity, identity)
    scale = (1 / torch.where(size > 0, size * (1 + eps), 1.0))[..., None, None]
    root, rest = scale.pow(1 / power) * identity, scale * ridged
    error = (rest - identity).abs().amax(dim=(-2, -1))
    going = torch.ones_like(error, dtype=torch.bool)
    for _ in range(_ITERATIONS):
        factor = ((1 + power) * identity - rest) / power
        next_rest = torch.linalg.matrix_power(factor, power) @ rest
        next_error = (next_rest - identity).abs().amax(dim=(-2, -1))
        going = going & (error > _ACCURATE * torch.finfo(matrix.dtype).eps) & (next_error < _WORSE * error)
        if not bool(going.any()):
            break
        root = torch.where(going[..., None, None], root @ factor, root)
        rest = torch.where(going[..., None, None], next_rest, rest)
        error = torch.where(going, next_error, error)
    return torch.where(known, root, identity)


def largest_eigenvalue(matrix: Tensor) -> Tensor:
    """Return about the largest eigenvalue (...) of positive semidefinite matrices, by power iteration."""
    start = draws.signs(torch.zeros((), device=matrix.device), matrix.shape[-1]).to(matrix.dtype)
    vector = start.unsqueeze(-1).expand(*matrix.shape[:-1], 1)
    for _ in range(_POWERS):
        vector = torch.nn.functional.normalize(matrix @ vector, dim=-2)
    found: Tensor = torch.linalg.vector_norm(matrix @ vector, dim=(-2, -1))
    return found


_ROOTS: Mapping[str, Root] = MappingProxyType({"eigendecomposition": by_eigendecomposition, "newton": by_newton})
ROOTS: tuple[str, ...] = tuple(_ROOTS)


def inverse_root(matrix: Tensor, power: int, eps: Tensor, *, by: str) -> Tensor:
    """Return the inverse p-th roots by one of `ROOTS`, of matrices scaled to a largest entry of 1."""
    size = matrix.abs().amax(dim=(-2, -1), keepdim=True)
    known = (size > 0) & size.isfinite()
    size = torch.where(known, size, 1.0)
    found = _ROOTS[by](torch.where(known, matrix / size, 0.0), power, eps) * size.pow(-1 / power)
    return torch.where(matrix.isfinite().all(dim=-1).all(dim=-1)[..., None, None], found, torch.nan)
