"""Products of upper triangles (*, n, n) without most of what is zero in them."""

import torch
from torch import Tensor

# Of triangles up to this size the whole product takes less time than its parts.
_SMALL = 128


def product(one: Tensor, other: Tensor) -> Tensor:
    """Return the product, half by half of large ones: to be multiplied is a third of what is in whole matrices."""
    size = one.shape[-1]
    if size <= _SMALL:
        return one @ other
    half = size // 2
    found = torch.zeros_like(one)
    found[..., :half, :half] = product(one[..., :half, :half], other[..., :half, :half])
    found[..., :half, half:] = one[..., :half, :] @ other[..., half:]
    found[..., half:, half:] = product(one[..., half:, half:], other[..., half:, half:])
    return found
