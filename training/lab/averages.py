"""The moving-average picture's data: a noisy signal, and its moving averages for several betas."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from optim.averages import moving_average, window

POINTS = 200
_SEED = 3
_LEVEL, _SWING, _NOISE = 10.0, 10.0, 2.0


@dataclass(frozen=True, slots=True)
class Curve:
    """One moving average of the signal. It averages about `window` = 1 / (1 - beta) values."""

    beta: float
    window: float
    values: tuple[float, ...]


def signal() -> tuple[float, ...]:
    """Return a signal that rises and falls once, under noise, the same every time.

    It begins well above zero, where an average that starts from zero without correction shows its bias.
    """
    time = torch.linspace(0.0, math.pi, POINTS, dtype=torch.float64)
    noise = torch.randn(POINTS, generator=torch.Generator().manual_seed(_SEED), dtype=torch.float64)
    return tuple((_LEVEL + _SWING * time.sin() + _NOISE * noise).tolist())


def curves(betas: Sequence[float], *, bias_correction: bool) -> tuple[Curve, ...]:
    """Return the moving average of `signal` for each beta, which must be in [0, 1)."""
    values, weights = torch.tensor(signal(), dtype=torch.float64), torch.tensor(betas, dtype=torch.float64)
    averages = moving_average(values, weights, bias_correction=bias_correction)
    return tuple(
        Curve(beta, float(window(beta)), tuple(average.tolist())) for beta, average in zip(betas, averages, strict=True)
    )
