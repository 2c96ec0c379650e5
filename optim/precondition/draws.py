"""Random numbers that depend on what they are for alone, so that a resumed run draws the same, and a lane as each alone.

Uniform ones are SplitMix64's finalizer over a counter (Steele et al., Fast splittable pseudorandom number generators, 2014),
in the wrapping arithmetic of int64 tensors: on any device, for all members at once. Normal ones, of which methods draw as
many as there are parameters, come of torch's generators, a fresh one for each key. The first numbers are the same however
many follow.
"""

import torch
from torch import Tensor

_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_BITS = 53
_ALL = 2**64 - 1
# torch makes so many normal numbers of as many uniform ones.
_TOGETHER = 16


def uniform(key: Tensor, count: int, *, salt: int = 0) -> Tensor:
    """Return `count` numbers in (0, 1), float64 (*, count), for each key (*,); `salt` tells uses of one key apart."""
    counter = torch.arange(1, count + 1, dtype=torch.int64, device=key.device)
    seeds = torch.tensor([_signed(seed) for seed in _seeds(key, salt)], dtype=torch.int64, device=key.device)
    bits = _mixed(seeds.reshape(*key.shape, 1) + counter.mul_(_signed(_STEP)))
    found: Tensor = (_shifted(bits, 64 - _BITS).to(torch.float64) + 0.5) / 2**_BITS
    return found


def signs(key: Tensor, count: int, *, salt: int = 0) -> Tensor:
    """Return `count` numbers of -1 or 1, float64 (*, count)."""
    return torch.where(uniform(key, count, salt=salt) < 0.5, -1.0, 1.0).to(torch.float64)


def normal(key: Tensor, count: int, *, salt: int = 0) -> Tensor:
    """Return `count` normal numbers, float32 (*, count); drawn on the CPU, so that they are the same for any device."""
    whole = count + -count % _TOGETHER
    drawn = [torch.randn(whole, generator=torch.Generator().manual_seed(seed))[:count] for seed in _seeds(key, salt)]
    return (drawn[0] if key.ndim == 0 else torch.stack(drawn)).to(key.device)


def _seeds(key: Tensor, salt: int) -> list[int]:
    """Return a seed of 64 bits for each key, one after the other."""
    return [_finalised(_finalised(int(each) * _STEP) + salt * _STEP) for each in key.reshape(-1).tolist()]


def _finalised(bits: int) -> int:
    """Return what `_mixed` makes of one number."""
    bits &= _ALL
    bits = (bits ^ bits >> 30) * _FIRST & _ALL
    bits = (bits ^ bits >> 27) * _SECOND & _ALL
    return bits ^ bits >> 31


def _mixed(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)).mul_(_signed(_FIRST))
    bits = bits.bitwise_xor_(_shifted(bits, 27)).mul_(_signed(_SECOND))
    mixed: Tensor = bits.bitwise_xor_(_shifted(bits, 31))
    return mixed


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shift right, filling with zeros as unsigned integers are."""
    shifted: Tensor = (bits >> by).bitwise_and_(2 ** (64 - by) - 1)
    return shifted


def _signed(bits: int) -> int:
    """Return the number that int64 takes these bits for."""
    return bits - 2**64 if bits >= 2**63 else bits
