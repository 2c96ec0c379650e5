"""What the rules for matrices share.

A parameter with at least two axes inside a member is a matrix, its further axes flattened into the second: the kernels
of a convolution of shape (out, in, height, width) are one of shape (out, in * height * width).
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from ..transform import Tensors, within

_SETTLING = 1e-6


def is_matrix(members: int, tensor: Tensor) -> bool:
    """Say whether `tensor` has elements, and two axes or more behind its `members` member axes (`lr.ndim`: 0 or 1)."""
    return len(within(members, tensor)) >= 2 and tensor.numel() > 0


def as_matrix(members: int, tensor: Tensor) -> Tensor:
    """Flatten to shape (rows, columns) or (P, rows, columns)."""
    return tensor.flatten(start_dim=members + 1)


def pick(tensors: Tensors, places: Sequence[int]) -> list[Tensor]:
    return [tensors[place] for place in places]


def put(tensors: Tensors, places: Sequence[int], values: Tensors) -> list[Tensor]:
    """Return a list like `tensors` with `values` at `places`."""
    changed = list(tensors)
    for place, value in zip(places, values, strict=True):
        changed[place] = value
    return changed


def choose(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Take `new` for the members that `mask`, of shape () or (P,), names, and `old` for the others."""
    shaped = mask.to(new.device).reshape(mask.shape + (1,) * (new.ndim - mask.ndim))
    return torch.where(shaped, new, old)


@cache
def precise(dtype: torch.dtype) -> torch.dtype:
    """Return the precision in which decompositions are computed: `dtype`, float32 at least."""
    return torch.promote_types(dtype, torch.float32)


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the tensor in a precision; one that has it without a call, which for a small one costs as much as a product."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def settled(covariance: Tensor) -> Tensor:
    """Return a covariance (..., d, d) whose eigenvectors do not depend on rounding where it says nothing of them.

    A millionth of the mean eigenvalue, rising by its half along the diagonal, is added: directions without variance then
    lie along the axes.
    """
    diagonal = covariance.diagonal(dim1=-2, dim2=-1)
    ramp = torch.linspace(1, 1.5, diagonal.size(-1), dtype=diagonal.dtype, device=diagonal.device)
    return covariance + torch.diag_embed(_SETTLING * diagonal.mean(dim=-1, keepdim=True) * ramp)
