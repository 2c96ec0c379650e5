"""Fewer numbers for the gradients of examples: matrices of low rank, and a sample of their rows and columns.

`low_rank` keeps of each gradient (o, d) that sums over more positions than `rank` its largest singular values, as many as
the rank: the nearest matrix of that rank. `sketched` draws `size` of the d columns and of the o rows, all examples the
same ones, and scales what it keeps by sqrt(d / size) and sqrt(o / size), so that products between gradients stay what
they are on the mean.

Source: Yang et al., Sketchy Empirical Natural Gradient Methods for Deep Learning, 2022. Shapes as in `gram`.
"""

import torch
from torch import Tensor

from .. import draws
from .decompositions import eigenvectors
from .gram import Examples


def low_rank(own: Examples, rank: int) -> Examples:
    """Return the gradients of examples with at most `rank` positions each."""
    columns, rows = own
    if columns.shape[-2] <= rank or min(columns.shape[-1], rows.shape[-1]) <= rank:
        return own
    gradients = rows.mT @ columns
    if rows.shape[-1] <= columns.shape[-1]:
        left = eigenvectors(gradients @ gradients.mT)[..., -rank:]
        return Examples(left.mT @ gradients, left.mT)
    right = eigenvectors(gradients.mT @ gradients)[..., -rank:]
    return Examples(right.mT, right.mT @ gradients.mT)


def sketched(own: Examples, matrix: Tensor, size: int, key: Tensor, salt: int) -> tuple[Examples, Tensor]:
    """Return examples and a matrix of gradients (*, G, o, d) in at most `size` columns and rows, which key (*,) decides."""
    columns, rows = own
    across = _drawn(columns.shape[-1], size, key, 2 * salt)
    along = _drawn(rows.shape[-1], size, key, 2 * salt + 1)
    return Examples(_taken(columns, across), _taken(rows, along)), _taken(_taken(matrix, across).mT, along).mT


def _drawn(count: int, size: int, key: Tensor, salt: int) -> Tensor | None:
    """Return `size` places of so many (*, size), each set as likely as any other; None for all."""
    if count <= size:
        return None
    return draws.uniform(key, count, salt=salt).argsort(dim=-1)[..., :size]


def _taken(tensor: Tensor, places: Tensor | None) -> Tensor:
    if places is None:
        return tensor
    members = places.ndim - 1
    wanted = places.reshape(*places.shape[:members], *(1,) * (tensor.ndim - places.ndim), -1)
    kept = torch.take_along_dim(tensor, wanted.to(tensor.device), dim=-1)
    found: Tensor = kept * (tensor.shape[-1] / places.shape[-1]) ** 0.5
    return found
