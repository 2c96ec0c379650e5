"""The Newton-Schulz iteration towards the nearest orthogonal matrix, of one matrix or of each member's.

    X <- M / max(|M|_F, eps)                                     M transposed where it has more rows than columns
    X <- a X + (b A + c A^2) X,  A = X X^T                       ns_steps times

The coefficients let small singular values grow fast; all end near 1, roughly between 0.7 and 1.2, rather than at 1.
Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024.
"""

import torch
from torch import Tensor

from .matrices import choose, precise

_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonal(matrix: Tensor, *, steps: Tensor, eps: Tensor, coarse: Tensor) -> Tensor:
    """Return `matrix`, of shape (rows, columns) or (P, rows, columns), with singular values near 1.

    Computed in bfloat16 for members where `coarse` is not 0, for the others in the matrix's precision.
    """
    low = coarse > 0
    if bool(low.all()):
        return _iterated(matrix.bfloat16(), steps, eps).to(matrix.dtype)
    fine = _iterated(matrix.to(precise(matrix.dtype)), steps, eps).to(matrix.dtype)
    if not bool(low.any()):
        return fine
    return choose(low, _iterated(matrix.bfloat16(), steps, eps).to(matrix.dtype), fine)


def _iterated(matrix: Tensor, steps: Tensor, eps: Tensor) -> Tensor:
    tall = matrix.size(-2) > matrix.size(-1)
    x = matrix.mT if tall else matrix
    norm = torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True)
    x = x / torch.maximum(norm, eps.to(norm).reshape((*eps.shape, 1, 1)))
    for done in range(int(steps.max())):
        going = steps > done
        x = _step(x) if bool(going.all()) else choose(going, _step(x), x)
    return x.mT if tall else x


def _step(x: Tensor) -> Tensor:
    # Two names for one thing: torch multiplies and adds single matrices by the first, stacked ones by the second.
    fused = torch.addmm if x.ndim == 2 else torch.baddbmm
    gram = x @ x.mT
    return fused(x, fused(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
