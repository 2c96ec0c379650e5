"""Functions of symmetric matrices through their eigenvalues."""

from collections.abc import Callable

import torch
from torch import Tensor


def spectral(matrix: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the matrix (*, d, d) with `function` of its eigenvalues (*, d) for eigenvalues; not finite where it is not.

    Eigenvalues are computed in float64: in float32 LAPACK finds none of ordinary Hessians with many rows of zeros.
    """
    values, vectors = _decomposed(matrix.to(torch.float64))
    found = (vectors * function(values).unsqueeze(-2)) @ vectors.mT
    return found.to(matrix.dtype)


def _decomposed(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues (*, d) and eigenvectors (*, d, d), not finite for a member that has none: others keep theirs."""
    sound = matrix.isfinite().flatten(-2).all(dim=-1)[..., None, None]
    try:
        values, vectors = torch.linalg.eigh(torch.where(sound, matrix, 0.0))
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # torch exports it in its documents alone
        if matrix.ndim == 2:
            return torch.full_like(matrix[..., 0], torch.nan), torch.full_like(matrix, torch.nan)
        values, vectors = (torch.stack(parts) for parts in zip(*map(_decomposed, matrix), strict=True))
    return values, torch.where(sound, vectors, torch.nan)
