"""Shapes of the warm-up: the factor on the base rate while it rises, as functions of `share = (t + 1) / W` in (0, 1].

    none          no warm-up, however long it is said to be
    linear        share
    exponential   START ^ (1 - share), START = 0.01
    cosine        (1 - cos(pi share)) / 2

All reach 1, the base rate, exactly at share 1: at the last of the W steps.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from . import catalog
from .schedule_options import Curve, by_choice

START = 0.01

WARMUPS: Mapping[str, Curve] = MappingProxyType(
    {
        "none": torch.ones_like,
        "linear": lambda share: share,
        "exponential": lambda share: START ** (1 - share),
        "cosine": lambda share: (1 - torch.cos(math.pi * share)) / 2,
    }
)
_NAMES = catalog.COMMON["warmup_shape"].choices
_CURVES = tuple(WARMUPS[name] for name in _NAMES)


def warmup_steps(total_steps: float | Tensor, warmup: float | Tensor) -> Tensor:
    """Return ceil(warmup * total_steps); a product a rounding error above a whole number counts as that number."""
    total = torch.as_tensor(total_steps, dtype=torch.float64)
    return torch.ceil(torch.as_tensor(warmup, dtype=torch.float64) * total - 1e-9)


def shorten(steps: Tensor, shape: Tensor) -> Tensor:
    """Return the steps of the warm-up, 0 where its shape is none; `shape` counts the choices of `warmup_shape`."""
    return torch.where(shape == _NAMES.index("none"), 0.0, steps)


def rise(at: Tensor, steps: Tensor, shape: Tensor) -> Tensor:
    """Return the factor at step `at` of a warm-up of `steps`, and 1 from its last step on."""
    share = ((at + 1) / steps.clamp(min=1)).clamp(max=1)
    # Set rather than computed at the end, where a cosine may be a rounding error away from 1.
    return torch.where(share < 1, by_choice(shape, _CURVES, share), 1.0)
