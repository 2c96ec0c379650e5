"""The inverse of a matrix, learned from what the matrix does to vectors: BFGS and its damping.

Of y = B s the inverse H of B learns that H y = s:

    H <- (I - r s y^T) H (I - r y s^T) + r s s^T      r = 1 / s^T y

which stays positive where s^T y is. Damped (Powell), s is moved towards H y until s^T y is at least mu y^T H y; then y
grows by `added` s, which keeps H below 1 / added in the direction learned (Levenberg and Marquardt).

Source: Nocedal and Wright, Numerical optimization, 2006, sections 6.1 and 18.3; Goldfarb, Ren and Bahamou, Practical
quasi-Newton methods for training deep neural networks, 2020, section 3 (double damping).
Shapes: matrices (..., d, d), vectors (..., d), mu and added such that they broadcast against (...).
"""

import torch
from torch import Tensor

from .kronecker import product


def learned(inverse: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """Return the next H; one whose s^T y is not positive stays, for it would not remain so."""
    steep = _dot(s, y)
    rate = 1 / steep.masked_fill(steep <= 0, torch.inf)
    back = times(inverse, y)
    half = 0.5 * rate * (1 + rate * _dot(y, back))
    # H + s u^T + u s^T, of which the last two are one product of matrices with two columns.
    u = half.unsqueeze(-1) * s - rate.unsqueeze(-1) * back
    return inverse + product(torch.stack([s, u], dim=-1), torch.stack([u, s], dim=-2))


def damped(inverse: Tensor, s: Tensor, y: Tensor, *, mu: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """Return s and y, of which H can learn and remain positive."""
    back = times(inverse, y)
    own, least = _dot(s, y), _dot(y, back)
    share = torch.where(own < mu * least, (1 - mu) * least / (least - own), 1.0).unsqueeze(-1)
    moved = torch.lerp(back, s, share)
    return moved, y + added.unsqueeze(-1) * moved


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return the product of matrices with vectors."""
    return product(matrix, vector.unsqueeze(-1)).squeeze(-1)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vecdot(one, other)
    return found
