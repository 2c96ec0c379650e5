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


def learned(inverse: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """Return the next H; one whose s^T y is not positive stays, for it would not remain so."""
    product = _dot(s, y)
    known = product > 0
    rate = torch.where(known, 1 / torch.where(known, product, 1.0), 0.0)
    back = _times(inverse, y)
    cross = _outer(back, s)
    grown = rate * (1 + rate * _dot(y, back))
    return inverse + grown[..., None, None] * _outer(s, s) - rate[..., None, None] * (cross + cross.mT)


def damped(inverse: Tensor, s: Tensor, y: Tensor, *, mu: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """Return s and y, of which H can learn and remain positive."""
    back = _times(inverse, y)
    own, least = _dot(s, y), _dot(y, back)
    low = own < mu * least
    share = torch.where(low, (1 - mu) * least / torch.where(low, least - own, 1.0), 1.0).unsqueeze(-1)
    moved = share * s + (1 - share) * back
    return moved, y + added.unsqueeze(-1) * moved


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vecdot(one, other)
    return found


def _outer(one: Tensor, other: Tensor) -> Tensor:
    return one.unsqueeze(-1) * other.unsqueeze(-2)
