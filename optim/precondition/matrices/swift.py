"""Inverses of a mini-batch's own Kronecker factors, without the factors where examples are fewer than dimensions.

    (X^T X + gamma I)^-1 = (I - X^T (X X^T + gamma I)^-1 X) / gamma

of roots X (m, d) of a factor, m counting examples, positions and vectors. Where m < d it is Woodbury's right side that is
computed, whose matrix is m x m, else the left one. Damping is split as in `kronecker`.

Source: Tang et al., SKFAC: Training Neural Networks with Faster Kronecker-Factored Approximate Curvature, 2021; there
positions of a convolution are averaged first, here all count, so that this is K-FAC to rounding.
"""

import torch
from torch import Tensor

from ..layers import Seen
from ..operations.decompositions import cholesky
from . import kronecker
from .kronecker import Factors


def damped_inverse(seen: Seen, damping: Tensor) -> Factors:
    """Return the damped inverses of a layer's factors, damping (*,); not finite where what was seen is not."""
    roots = kronecker.roots(seen)
    means = [root.square().sum(dim=(-2, -1)) / root.shape[-1] for root in roots]
    return Factors(
        *(inverse(root, own) for root, own in zip(roots, kronecker.split_damping(means, damping), strict=True))
    )


def inverse(root: Tensor, damping: Tensor) -> Tensor:
    """Return (X^T X + damping I)^-1 of X (..., m, d) and damping (...)."""
    count, size = root.shape[-2:]
    if count >= size:
        return kronecker.inverse(root.mT @ root, damping)
    lower, failed = cholesky(root @ root.mT, damping)
    whitened = torch.linalg.solve_triangular(lower, root, upper=False)
    identity = torch.eye(size, dtype=root.dtype, device=root.device)
    found = (identity - whitened.mT @ whitened) / damping[..., None, None]
    return torch.where(failed[..., None, None], torch.nan, found)
