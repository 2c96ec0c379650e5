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
from ..precondition.batch import Batch, Pass
from ..precondition.criteria import criterion
from ..precondition.lengths import in_steps
from ..records import OptimizerInfo, Setting
from ..transform import Hyper, Tensors, stack
from .optimizers import optimizer_of
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
    Raise ValueError for an optimizer that is not among `lab.optimizers`, an unknown option and a value out of range.
    """
    info = optimizer_of(name)
    rates = (options["lr"],) if "lr" in options else surface.rates
    members = [in_steps(catalog.complete(info, {**options, "lr": rate}), steps) for rate in rates]
    hyper = {
        option.name: _column([option.number(member[option.name]) for member in members]) for option in info.options
    }
    path, arrived = _walk(surface, name, hyper, steps)
    values = surface.value(path[..., 0], path[..., 1])
    best = _best(values[-1], arrived)
    return _record(info, float(hyper["lr"][best]), path[:, best], values[:, best], arrived=bool(arrived[best]))


def _column(settings: Sequence[float | list[float]]) -> Tensor:
    return torch.tensor(settings, dtype=torch.float64)


@torch.no_grad()
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
        batch = _seen(surface, point) if rule.looks else None
        (update,), state = rule.step([gradient], state, [point], hyper, batch)
        point = point + update
        (seen,) = rule.evaluated([point], state, hyper)
        path.append(seen)
        x, y = seen[:, 0], seen[:, 1]
        arrived = surface.stop.holds(y, surface.value(x, y))
        if arrived.any() or not seen.isfinite().any():
            break
    return torch.stack(path), arrived


def _seen(surface: Surface, point: Tensor) -> Batch:
    """Return the surface at points (P, 2) as a mini-batch: what its network puts out are the parameters, its loss the value.

    So the Gauss-Newton matrix of a surface is its Hessian.
    """

    def run(params: Tensors) -> Pass:
        (own,) = params
        outputs = own.unsqueeze(-2)
        return Pass(surface.value(outputs[..., 0], outputs[..., 1]).sum(), outputs, ())

    weights = torch.ones(len(point), 1, dtype=torch.float64)
    return Batch(run, [point.detach().requires_grad_()], (), criterion("squared_error"), weights)


def _best(final: Tensor, arrived: Tensor) -> int:
    """Return the member that arrived with the lowest value; with none arrived, that of the lowest value of all."""
    eligible = arrived if arrived.any() else torch.ones_like(arrived)
    ranked = torch.where(eligible & final.isfinite(), final, torch.inf)
    return int(ranked.argmin())


def _record(info: OptimizerInfo, lr: float, path: Tensor, values: Tensor, *, arrived: bool) -> Run:
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
