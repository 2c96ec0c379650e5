"""Runs of the catalog's optimizers on a surface: the best learning rate, the steps it takes, and the path.

The learning rates of the grid are the members of one population, so a run over all of them costs little more than one.
The best rate is the first whose member arrives. Everything is computed in float64 on the CPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import catalog
from ..build import build_rule
from ..records import Setting
from ..transform import Hyper, stack
from .surfaces import STEPS, Surface


@dataclass(frozen=True, slots=True)
class Run:
    """One optimizer's way at its best rate, or at the one given.

    `steps` is the first step at which the surface's stop holds, None where it never did. `x`, `y` and `values` have an
    entry for the start and for each step, up to that one, to the last allowed, or to the last that is a number.
    """

    optimizer: str
    title: str
    lr: float
    steps: int | None
    diverged: bool
    x: tuple[float, ...]
    y: tuple[float, ...]
    values: tuple[float, ...]


def run(surface: Surface, name: str, options: Mapping[str, Setting], *, steps: int = STEPS) -> Run:
    """Run the optimizer called `name` from the surface's start for at most `steps` steps.

    With `lr` among the options it runs at that rate, else at each rate of the surface's grid, and the best is returned:
    the first to arrive (of several the one with the lowest value), or the lowest value where none does.
    Raise ValueError for an unknown optimizer or option and for a value out of range.
    """
    info = catalog.optimizer_info(name)
    rates = (options["lr"],) if "lr" in options else surface.rates
    members = [catalog.complete(info, {**options, "lr": rate}) for rate in rates]
    hyper = {option.name: _column([member[option.name] for member in members]) for option in info.options}
    path, arrived = _walk(surface, name, hyper, steps)
    values = surface.value(path[..., 0], path[..., 1])
    best = _best(values[-1], arrived)
    return _record(info, float(hyper["lr"][best]), path[:, best], values[:, best], arrived=bool(arrived[best]))


def _column(settings: Sequence[Setting]) -> Tensor:
    return torch.tensor(settings, dtype=torch.float64)


@torch.inference_mode()
def _walk(surface: Surface, name: str, hyper: Hyper, steps: int) -> tuple[Tensor, Tensor]:
    """Return the path, shape (steps taken + 1, P, 2), and which members are at the stop at its end."""
    rule = build_rule(name)
    members = len(hyper["lr"])
    start = torch.tensor(surface.start, dtype=torch.float64)
    state = stack([rule.init([start]) for _ in range(members)])
    point = seen = start.repeat(members, 1)
    path = [seen]
    arrived = torch.zeros(members, dtype=torch.bool)
    for _ in range(steps):
        gradient = torch.stack(surface.gradient(point[:, 0], point[:, 1]), dim=-1)
        (update,), state = rule.update([gradient], state, [point], hyper)
        point = point + update
        (seen,) = rule.evaluated([point], state, hyper)
        path.append(seen)
        x, y = seen[:, 0], seen[:, 1]
        arrived = surface.stop.holds(y, surface.value(x, y))
        if arrived.any() or not seen.isfinite().any():
            break
    return torch.stack(path), arrived


def _best(final: Tensor, arrived: Tensor) -> int:
    """Return the member that arrived with the lowest value; with none arrived, that of the lowest value of all."""
    eligible = arrived if arrived.any() else torch.ones_like(arrived)
    ranked = torch.where(eligible & final.isfinite(), final, torch.inf)
    return int(ranked.argmin())


def _record(info: catalog.OptimizerInfo, lr: float, path: Tensor, values: Tensor, *, arrived: bool) -> Run:
    whole = path.isfinite().all(dim=-1) & values.isfinite()
    # From the first point that is no number on there is nothing to show.
    kept = int(whole.cumprod(0).sum())
    return Run(
        optimizer=info.name,
        title=info.title,
        lr=lr,
        steps=len(path) - 1 if arrived else None,
        diverged=kept < len(path),
        x=tuple(path[:kept, 0].tolist()),
        y=tuple(path[:kept, 1].tolist()),
        values=tuple(values[:kept].tolist()),
    )
