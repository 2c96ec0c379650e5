"""Schedules of the learning rate: factors on the base rate, as pure functions of a step tensor.

Steps count from 0. Of T steps in all, the first W are warm-up: as many as `warmup_steps` says, or ceil(warmup T). The
factor rises in the shape `warmup_shape` (`warmups`) and reaches 1, the base rate, exactly at the last of them. Then
comes the decay (`decays`), a function of k = t - W, the steps since, out of K = T - W. Beyond T the factor stays at
its end.

Apart from cosine_restarts and one_cycle no decay ever rises. Step, total, warm-up and options may be tensors that
broadcast against each other, so one call serves a population whose members differ in all of them. Everything is
computed in float64, on the device of the step.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from . import catalog
from .decays import DECAYS
from .schedule_options import Value, common, resolve
from .shapes import broadcast_shape
from .warmups import rise, shorten, warmup_steps

__all__ = ["DECAYS", "schedule", "warmup_steps"]


def schedule(
    name: str,
    *,
    total_steps: float | Tensor,
    warmup: float | Tensor = 0.0,
    warmup_steps: float | Tensor | None = None,
    warmup_shape: Value = "linear",
    **options: Value,
) -> Callable[[Tensor], Tensor]:
    """Return the function from a step (from 0) to the factor on the base learning rate, float64.

    The warm-up is a fraction of all steps or a number of steps, for no member both. Options that are missing take
    their catalog defaults; `schedule_options` says how a population's are given. Raise ValueError for an unknown
    schedule or option, naming the valid ones, for a value out of range, naming the range, and for a warm-up that
    leaves no step of the training.
    """
    values = resolve(catalog.schedule_info(name), options)
    shape = common("warmup_shape", warmup_shape)
    total = _total(total_steps)
    fraction, steps = common("warmup", warmup), common("warmup_steps", 0 if warmup_steps is None else warmup_steps)
    broadcast_shape(
        {"total_steps": total.shape, "warmup": fraction.shape, "warmup_steps": steps.shape, "warmup_shape": shape.shape}
        | {key: value.shape[:-1] if key == "decay_milestones" else value.shape for key, value in values.items()}
    )
    rising = shorten(_rising(total, fraction, steps), shape)
    _check_shorter(shorten(steps, shape), total)
    falling = (total - rising).clamp(min=1)
    decay = DECAYS[name]

    def factor(step: Tensor) -> Tensor:
        at = step.to(torch.float64)
        up, down, kind = (tensor.to(at.device) for tensor in (rising, falling, shape))
        since = torch.minimum((at - up).clamp(min=0), down)
        settings = {key: value.to(at.device) for key, value in values.items()}
        return torch.where(at < up, rise(at, up, kind), decay(since, down, settings))

    return factor


def _total(total_steps: float | Tensor) -> Tensor:
    total = torch.as_tensor(total_steps, dtype=torch.float64)
    if not bool(((total >= 1) & total.isfinite()).all()):
        raise ValueError(f"total_steps must be a finite number of at least 1, got {total_steps!r}")
    return total


def _rising(total: Tensor, fraction: Tensor, steps: Tensor) -> Tensor:
    """Return how many steps each member warms up. Raise ValueError where the number is given in both ways."""
    both = (fraction > 0) & (steps > 0)
    if bool(both.any()):
        raise ValueError(
            "warmup and warmup_steps: give the warm-up as a fraction of all steps or as a number of them, not both; "
            "the other one must be 0"
        )
    return torch.where(steps > 0, steps, warmup_steps(total, fraction))


def _check_shorter(steps: Tensor, total: Tensor) -> None:
    late = steps >= total
    if bool(late.any()):
        rising, whole = (steps + 0 * total)[late][0].item(), (total + 0 * steps)[late][0].item()
        raise ValueError(
            f"warmup_steps: must be less than total_steps, got {rising:.0f} of {whole:.0f}; "
            "shorten the warm-up or train longer"
        )
