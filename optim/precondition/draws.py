"""Random numbers that depend on what they are for alone, so that a resumed run draws the same, and a lane as each alone.

SplitMix64's finalizer over a counter (Steele et al., Fast splittable pseudorandom number generators, 2014), in the wrapping
arithmetic of int64 tensors: on any device, for all members at once, and the first numbers are the same however many follow.
"""

import math

import torch
from torch import Tensor

_STEP, _FIRST, _SECOND = (value - 2**64 for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_BITS = 53


def uniform(key: Tensor, count: int, *, salt: int = 0) -> Tensor:
    """Return `count` numbers in (0, 1), float64 (*, count), for each key (*,); `salt` tells uses of one key apart."""
    counter = torch.arange(1, count + 1, dtype=torch.int64, device=key.device)
    # Their product would leave int64 as a number of Python's; a tensor wraps around.
    apart = torch.tensor(salt, dtype=torch.int64, device=key.device) * _STEP
    seed = _mixed(_mixed(key.to(torch.int64) * _STEP) + apart)
    bits = _mixed(seed.unsqueeze(-1) + counter * _STEP)
    found: Tensor = (_shifted(bits, 64 - _BITS).to(torch.float64) + 0.5) / 2**_BITS
    return found


def signs(key: Tensor, count: int, *, salt: int = 0) -> Tensor:
    """Return `count` numbers of -1 or 1, float64 (*, count)."""
    return torch.where(uniform(key, count, salt=salt) < 0.5, -1.0, 1.0).to(torch.float64)


def normal(key: Tensor, count: int, *, salt: int = 0) -> Tensor:
    """Return `count` normal numbers, float64 (*, count): of two uniform ones come two (Box and Muller, 1958)."""
    pairs = uniform(key, count + count % 2, salt=salt).reshape(*key.shape, -1, 2)
    radius, angle = (-2 * pairs[..., 0].log()).sqrt(), 2 * math.pi * pairs[..., 1]
    found: Tensor = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1).flatten(-2)
    return found[..., :count]


def _mixed(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)).mul_(_FIRST)
    bits = bits.bitwise_xor_(_shifted(bits, 27)).mul_(_SECOND)
    mixed: Tensor = bits.bitwise_xor_(_shifted(bits, 31))
    return mixed


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shift right, filling with zeros as unsigned integers are."""
    shifted: Tensor = (bits >> by).bitwise_and_(2 ** (64 - by) - 1)
    return shifted
