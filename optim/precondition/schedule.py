"""At which steps curvature is estimated, and at which preconditioners are made of it.

Steps are numbered from 0. During `warmup` steps all are due. After them one in so many is: always in `interval`
(constant), or in an interval that grows from 1 over `ramp` steps, steadily (linear) or in five stages by a constant factor
(step). What is due follows from the number of the step alone: a step is due where the sum of 1/interval over the steps
before it passes a whole number.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

STAGES = 5
# Sums of fractions that should be whole may be less by rounding.
_ROUNDING = 1e-9


def due(step: Tensor, *, interval: Tensor, warmup: Tensor, ramp: Tensor, shape: Tensor) -> Tensor:
    """Say whether a step is due; all of shape () or (P,), `shape` being a place in `SHAPES`."""
    if (
        step.ndim == 0 and shape.ndim == 0 and not float(shape)
    ):  # one model, as a rule: numbers are several times as fast
        since = float(step) - float(warmup)
        return YES if since <= 0 or since % float(interval) == 0 else NO
    behind = step - warmup
    wanted = torch.remainder(behind, interval) == 0
    for place, passed in GROWING.items():
        here = shape == place
        if bool(here.any()):
            counts = [torch.floor(passed(behind - back, interval, ramp) + _ROUNDING) for back in (0, 1)]
            wanted = torch.where(here, counts[0] > counts[1], wanted)
    return (behind <= 0) | wanted


def _linear(steps: Tensor, interval: Tensor, ramp: Tensor) -> Tensor:
    """Return how many intervals have passed after so many steps."""
    length = ramp.clamp(min=1)
    growth = (interval - 1) / length
    within = steps.clamp(max=length) if ramp.ndim == 0 else torch.minimum(steps, length)
    # The integral of 1 / (1 + growth s); without growth, of 1.
    grown = torch.where(growth > 0, torch.log1p(growth * within) / torch.where(growth > 0, growth, 1.0), within)
    return torch.where(ramp > 0, grown, 0.0) + (steps - torch.where(ramp > 0, within, 0.0)) / interval


def _stages(steps: Tensor, interval: Tensor, ramp: Tensor) -> Tensor:
    stage, passed = ramp / STAGES, torch.zeros_like(steps)
    for number in range(STAGES):
        own = torch.round(interval ** (number / STAGES))
        passed = passed + torch.minimum((steps - number * stage).clamp(min=0), stage) / own
    return passed + (steps - ramp).clamp(min=0) / interval


YES, NO = torch.tensor(True), torch.tensor(False)
SHAPES = ("constant", "step", "linear")
# Those whose interval is not always the same, by their place among the shapes.
GROWING: Mapping[int, Callable[[Tensor, Tensor, Tensor], Tensor]] = MappingProxyType({1: _stages, 2: _linear})


def due_steps(steps: int, *, interval: int, warmup: int = 0, ramp: int = 0, shape: str = "constant") -> list[int]:
    """Return all steps of the first so many that are due."""
    given = {"interval": interval, "warmup": warmup, "ramp": ramp, "shape": SHAPES.index(shape)}
    values = {name: torch.tensor(value, dtype=torch.float64) for name, value in given.items()}
    if interval < 1 or not math.isfinite(interval):
        raise ValueError(f"interval must be at least 1, got {interval!r}")
    return [step for step in range(steps) if due(torch.tensor(float(step)), **values)]
