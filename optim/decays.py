"""Decays of the learning rate after warm-up: factors on the base rate, as functions of the steps since.

`k` of K steps have been taken; `u = k / K` goes from 0 to 1. Where a rate changes at a place given as a fraction, that
place is rounded to a whole step, and whole steps are compared with whole steps, so that nothing comes a step late.

    constant          1
    step              decay_gamma ^ floor(k / s),  s = round(decay_every K), at least 1
    multistep         decay_gamma ^ (how many s_j <= k),  s_j = round(decay_milestones_j K), at least 1
    exponential       decay_final ^ u
    time              1 / (1 + decay_rate u)
    inverse_sqrt      1 / sqrt(1 + decay_rate u)
    linear            decay_final + (1 - decay_final) (1 - u)
    polynomial        decay_final + (1 - decay_final) (1 - u) ^ decay_power
    cosine            decay_final + (1 - decay_final) (1 + cos(pi u)) / 2
    cosine_restarts   as cosine over each of decay_cycles cycles, each decay_growth times as long as the one before
    one_cycle         decay_start -> 1 -> decay_final, half a cosine each; the top is at step decay_rise K - 1 and the
                      end at K - 1, as in torch.optim.lr_scheduler.OneCycleLR
    wsd               1 until the last D = round(decay_last K) steps, at least 1; then, with v from 0 to 1 over them,
                      decay_final + (1 - decay_final) d,  d = 1 - v (linear), 1 - sqrt(v) (sqrt), (1 + cos(pi v)) / 2 (cosine)
    plateau           1: what lowers this rate is measured; the caller multiplies by the factor that `plateau` keeps

`k`, K and options are float64 and broadcast against each other; points stand along a last axis of their own.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

from .schedule_options import by_choice

Options: TypeAlias = Mapping[str, Tensor]
Decay: TypeAlias = Callable[[Tensor, Tensor, Options], Tensor]


def _constant(k: Tensor, steps: Tensor, options: Options) -> Tensor:  # noqa: ARG001 - as the others
    return torch.ones_like(k / steps)


def _step(k: Tensor, steps: Tensor, options: Options) -> Tensor:
    every = (options["decay_every"] * steps).round().clamp(min=1)
    return options["decay_gamma"] ** (k / every).floor()


def _multistep(k: Tensor, steps: Tensor, options: Options) -> Tensor:
    places = (options["decay_milestones"] * steps[..., None]).round().clamp(min=1)
    # A point that a member lacks is NaN, which no step reaches.
    return options["decay_gamma"] ** (k[..., None] >= places).sum(dim=-1)


def _exponential(k: Tensor, steps: Tensor, options: Options) -> Tensor:
    return options["decay_final"] ** (k / steps)


def _time(k: Tensor, steps: Tensor, options: Options) -> Tensor:
    return 1 / (1 + options["decay_rate"] * (k / steps))


def _inverse_sqrt(k: Tensor, steps: Tensor, options: Options) -> Tensor:
    return 1 / (1 + options["decay_rate"] * (k / steps)).sqrt()


def _linear(k: Tensor, steps: Tensor, options: Options) -> Tensor:
    return _towards(options["decay_final"], 1 - k / steps)


def _polynomial(k: Tensor, steps: Tensor, options: Options) -> Tensor:
    return _towards(options["decay_final"], (1 - k / steps) ** options["decay_power"])


def _cosine(k: Tensor, steps: Tensor, options: Options) -> Tensor:
    return _towards(options["decay_final"], _half_wave(k / steps))


def _cosine_restarts(k: Tensor, steps: Tensor, options: Options) -> Tensor:
    cycles, end = options["decay_cycles"][..., None], steps[..., None]
    place = torch.arange(int(cycles.max()) + 1, dtype=torch.float64, device=k.device)
    lengths = options["decay_growth"][..., None] ** place
    before = lengths.cumsum(dim=-1) - lengths
    whole = (before * (place == cycles)).sum(dim=-1, keepdim=True)
    bounds = (end * before / whole).round()
    # Cycles too short for a step vanish: their ends fall together.
    began = torch.where((bounds <= k[..., None]) & (bounds < end), bounds, 0.0).amax(dim=-1)
    ends = torch.where(bounds > began[..., None], bounds, torch.inf).amin(dim=-1)
    return _towards(options["decay_final"], _half_wave((k - began) / (ends - began)))


def _one_cycle(k: Tensor, steps: Tensor, options: Options) -> Tensor:
    top = options["decay_rise"] * steps - 1
    rising = _towards(options["decay_start"], 1 - _half_wave(k / top))
    falling = _towards(options["decay_final"], _half_wave(((k - top) / (steps - 1 - top)).clamp(max=1)))
    # One step alone has neither a rise nor a fall.
    return torch.where(steps > 1, torch.where(k < top, rising, falling), 1.0)


def _wsd(k: Tensor, steps: Tensor, options: Options) -> Tensor:
    last = (options["decay_last"] * steps).round().clamp(min=1)
    share = ((k - (steps - last)) / last).clamp(min=0)
    descent = by_choice(options["decay_shape"], _DESCENTS, share)
    return _towards(options["decay_final"], descent)


def _towards(end: Tensor, left: Tensor) -> Tensor:
    """Go from 1 to `end` while `left` goes from 1 to 0."""
    return end + (1 - end) * left


def _half_wave(share: Tensor) -> Tensor:
    """Go from 1 to 0 along half a cosine while `share` goes from 0 to 1."""
    return (1 + torch.cos(math.pi * share)) / 2


# In the order of the choices of `decay_shape`.
_DESCENTS = (lambda share: 1 - share, lambda share: 1 - share.sqrt(), _half_wave)

DECAYS: Mapping[str, Decay] = MappingProxyType(
    {
        "constant": _constant,
        "step": _step,
        "multistep": _multistep,
        "exponential": _exponential,
        "time": _time,
        "inverse_sqrt": _inverse_sqrt,
        "linear": _linear,
        "polynomial": _polynomial,
        "cosine": _cosine,
        "cosine_restarts": _cosine_restarts,
        "one_cycle": _one_cycle,
        "wsd": _wsd,
        "plateau": _constant,
    }
)
