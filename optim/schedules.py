"""Schedules of the learning rate: factors on the base rate, as pure functions of a step tensor.

Steps count from 0. With T steps in all, the first W = ceil(warmup T) are warm-up, where the factor is (t + 1) / W:
it rises linearly and reaches 1, the base rate, exactly at the last of them. Then comes the decay, a function of
k = t - W, the steps since, out of K = T - W; `u = k / K` goes from 0 towards 1. Beyond T the factor stays at u = 1.

    constant      1
    step          decay_gamma ^ floor(k / s),  s = round(decay_every K), at least 1
    exponential   decay_final ^ u
    time          1 / (1 + decay_rate u)
    cosine        decay_final + (1 - decay_final) (1 + cos(pi u)) / 2

All are monotone after warm-up. Step, total, warm-up and options may be tensors that broadcast against each other,
so one call serves a population whose members differ in all of them. Everything is computed in float64.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

from . import catalog

Decay: TypeAlias = Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]


def _constant(k: Tensor, steps: Tensor, options: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG001 - as the others
    return torch.ones_like(k / steps)


def _step(k: Tensor, steps: Tensor, options: Mapping[str, Tensor]) -> Tensor:
    # Whole steps divided by whole steps: the quotient at a multiple is exact, so no drop comes a step late.
    every = (options["decay_every"] * steps).round().clamp(min=1)
    return options["decay_gamma"] ** (k / every).floor()


def _exponential(k: Tensor, steps: Tensor, options: Mapping[str, Tensor]) -> Tensor:
    return options["decay_final"] ** (k / steps)


def _time(k: Tensor, steps: Tensor, options: Mapping[str, Tensor]) -> Tensor:
    return 1 / (1 + options["decay_rate"] * (k / steps))


def _cosine(k: Tensor, steps: Tensor, options: Mapping[str, Tensor]) -> Tensor:
    final = options["decay_final"]
    return final + (1 - final) * (1 + torch.cos(math.pi * (k / steps))) / 2


DECAYS: Mapping[str, Decay] = MappingProxyType(
    {"constant": _constant, "step": _step, "exponential": _exponential, "time": _time, "cosine": _cosine}
)


def warmup_steps(total_steps: float | Tensor, warmup: float | Tensor) -> Tensor:
    """Return ceil(warmup * total_steps); a product a rounding error above a whole number counts as that number."""
    return torch.ceil(_tensor(warmup) * _tensor(total_steps) - 1e-9)


def schedule(
    name: str, *, total_steps: float | Tensor, warmup: float | Tensor = 0.0, **options: float | Tensor
) -> Callable[[Tensor], Tensor]:
    """Return the function from a step (from 0) to the factor on the base learning rate, float64.

    Options that are missing take their catalog defaults. Raise ValueError for an unknown schedule or option, naming
    the valid ones, and for a value out of range, naming the range.
    """
    info = catalog.schedule_info(name)
    _check(info, options)
    _check_common(total_steps, warmup)
    given = {option.name: option.default for option in info.options} | options
    values = {name: _tensor(value) for name, value in given.items()}
    total, rising = _tensor(total_steps), warmup_steps(total_steps, warmup)
    falling = (total - rising).clamp(min=1)
    decay = DECAYS[name]

    def factor(step: Tensor) -> Tensor:
        at = step.to(torch.float64)
        since = torch.minimum((at - rising).clamp(min=0), falling)
        rise = ((at + 1) / rising.clamp(min=1)).clamp(max=1)
        return torch.where(at < rising, rise, decay(since, falling, values))

    return factor


def _tensor(value: object) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def _check(info: catalog.ScheduleInfo, options: Mapping[str, float | Tensor]) -> None:
    """Check numbers as they are and tensors element by element."""
    single = {name: value for name, value in options.items() if not isinstance(value, Tensor)}
    catalog.complete(info, single)
    for name, value in options.items():
        for element in value.flatten().tolist() if isinstance(value, Tensor) else ():
            catalog.complete(info, {name: element})


def _check_common(total_steps: float | Tensor, warmup: float | Tensor) -> None:
    if bool((_tensor(total_steps) < 1).any()):
        raise ValueError(f"total_steps must be at least 1, got {total_steps!r}")
    for element in _tensor(warmup).flatten().tolist():
        wrong = catalog.COMMON["warmup"].check(element)
        if wrong is not None:
            raise ValueError(f"warmup: {wrong}")
