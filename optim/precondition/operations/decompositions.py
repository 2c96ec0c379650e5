"""Decompositions of many symmetric matrices at once, of which one that has none spoils no other."""

import torch
from torch import Tensor

from ...rules.matrices import precise


def cholesky(matrix: Tensor, damping: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Cholesky factor of M + damping I, (..., d, d) with damping (...), and where there is none (...)."""
    damped = matrix.clone()
    damped.diagonal(dim1=-2, dim2=-1).add_(damping.unsqueeze(-1))
    lower, failed = torch.linalg.cholesky_ex(damped)
    return lower, failed > 0


def eigenvectors(matrix: Tensor) -> Tensor:
    """Return the eigenvectors of symmetric matrices (..., d, d), least eigenvalue first; not finite where one is not."""
    sound = matrix.isfinite().all(dim=-1).all(dim=-1)[..., None, None]
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    given = torch.where(sound, matrix, identity).to(precise(matrix.dtype))
    return torch.where(sound, torch.linalg.eigh(given).eigenvectors.to(matrix.dtype), torch.nan)
