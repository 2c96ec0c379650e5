"""Two objectives on recorded training, whole and pruned: the final loss against the steps of the optimizer.

A step takes about as long whatever the batch, so a large batch is cheap and, at equal epochs, worse. The steps of a point
are known from its first measurement; the loss is learnt epoch by epoch.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.tables.table import Table
from search.definition.objectives import RECIPES
from search.definition.prunings import AshaPruning
from search.pareto import Losses, front, hypervolume
from search.pruners.simulate import simulate

# A loss as bad as that of a middling point, and somewhat more steps than the smallest batch takes.
REFERENCE = (1.0, 1.1)


@dataclass(frozen=True, slots=True)
class Fronts:
    """One study, whole and pruned: the volumes of what it takes for its front, and the share of epochs that was trained.

    `again` is the volume of the whole study once more, each trial with another seed of its training.
    """

    whole: float
    again: float
    pruned: float
    share: float


def study(recorded: Table, pruning: AshaPruning, *, trials: int, workers: int, seed: int) -> Fronts:
    """Run one study of random points: whole, whole with other seeds, and pruned."""
    rng = np.random.default_rng(seed)
    points = [recorded.points[place] for place in rng.choice(len(recorded.points), trials, replace=False)]
    seeds = rng.integers(recorded.seeds, size=trials)
    others = (seeds + rng.integers(1, recorded.seeds, size=trials)) % recorded.seeds
    costs = [cost(recorded, point) for point in points]
    first, second = (
        [_curve(recorded, point, int(each), price) for point, each, price in zip(points, drawn, costs, strict=True)]
        for drawn in (seeds, others)
    )
    steps = simulate(pruning, first, workers=workers, seed=seed)
    true = [(recorded.normalised_regret(point), price) for point, price in zip(points, costs, strict=True)]
    return Fronts(
        whole=_volume(first, [len(curve) for curve in first], true, recorded.epochs),
        again=_volume(second, [len(curve) for curve in second], true, recorded.epochs),
        pruned=_volume(first, steps, true, recorded.epochs),
        share=sum(steps) / sum(map(len, first)),
    )


def lost(runs: Sequence[Fronts]) -> tuple[float, float]:
    """Return how much volume pruning costs, in the mean, and the standard error of that."""
    each = [run.whole - run.pruned for run in runs]
    return statistics.mean(each), statistics.stdev(each) / math.sqrt(len(each))


def noise(runs: Sequence[Fronts]) -> float:
    """Return by how much two whole studies of the same points differ, for the seeds of training alone, in the mean."""
    return statistics.mean(abs(run.whole - run.again) for run in runs)


def cost(recorded: Table, point: Mapping[str, Any]) -> float:
    """Return how many steps a point takes: 0 as few as any, 1 as many, evenly spaced by their logarithm."""
    steps = {size: _steps(recorded, size) for size in recorded.space["batch_size"]["choices"]}
    least, most = min(steps.values()), max(steps.values())
    return math.log(steps[point["batch_size"]] / least) / math.log(most / least)


def _steps(recorded: Table, batch_size: int) -> int:
    data = RECIPES[recorded.objective["recipe"]].data
    examples = next(each.examples for each in data if each.name == recorded.objective["data"])
    if examples is None:
        raise ValueError(f"{recorded.name}: nobody says how many examples its data has")
    return -(-examples // batch_size)


def _curve(recorded: Table, point: dict[str, Any], seed: int, price: float) -> list[Losses]:
    """Return a run's losses up to where it ended: one that diverged ends there, without a result."""
    return [(float(loss), price) for loss in recorded.curve(point, seed) if math.isfinite(loss)]


def _volume(curves: Sequence[Sequence[Losses]], steps: Sequence[int], true: Sequence[Losses], epochs: int) -> float:
    """Choose the front by what the trials that completed came to, and return what it is worth over all seeds."""
    done = [number for number, count in enumerate(steps) if count == epochs]
    chosen = front([curves[number][-1] for number in done])
    return hypervolume([true[done[place]] for place in chosen], REFERENCE)
