"""What successive halving costs and saves, on recorded training: `python -m benchmarks.pruning --json`.

The curves of the tuning tables (docs/tables.md) stand for trials: a study of random points is run over them twice, once
whole and once pruned by ASHA as shipped, decided by the same code as in the service (`search.pruners.simulate`), four
trials at a time. Compared are the best configurations (normalised regret: 0 is the table's best, 1 a middling one) and
the epochs that were trained. "Within noise" is the table's luck: what the winner by all seeds but one comes to with
the remaining one.

A study with two objectives, the loss against the steps of the optimizer (`benchmarks.pruning_fronts`), is pruned likewise.
Compared are the volumes of the fronts that the studies find, by the mean losses over all seeds; "within noise" is what
two whole studies of the same points differ by for the seeds of their trainings alone. All are means over the studies:
most lose nothing.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import pruning_fronts as fronts
from benchmarks.promises import Promise, line, show, table
from benchmarks.tables.statistics import luck
from benchmarks.tables.table import Table, load, names
from search.definition.prunings import AshaPruning
from search.pruners.simulate import simulate

TRIALS = 100
WORKERS = 4
MOST_SHARE = 1 / 3
# The first rung: early enough to save, late enough that ranks mean something.
FIRST = {27: 3, 9: 1}


@dataclass(frozen=True, slots=True)
class Pair:
    """One study, whole and pruned: regrets of the two best configurations, and the share of epochs that was trained."""

    whole: float
    pruned: float
    share: float

    @property
    def added(self) -> float:
        """How much regret pruning adds; where both chose points that diverge with some seed, nothing."""
        return 0.0 if self.pruned == self.whole else self.pruned - self.whole


def rule(recorded: Table) -> AshaPruning:
    """Return how trials of this table are pruned."""
    return AshaPruning(kind="asha", min_steps=FIRST[recorded.epochs])


def study(recorded: Table, seed: int) -> Pair:
    """Run one study of random points both ways."""
    rng = np.random.default_rng(seed)
    points = [recorded.points[place] for place in rng.choice(len(recorded.points), TRIALS, replace=False)]
    curves = [_curve(recorded, point, int(rng.integers(recorded.seeds))) for point in points]
    steps = simulate(rule(recorded), curves, workers=WORKERS, seed=seed)
    whole = [len(curve) for curve in curves]
    regrets = [recorded.normalised_regret(point) for point in points]
    return Pair(
        whole=regrets[_best(curves, whole, recorded.epochs)],
        pruned=regrets[_best(curves, steps, recorded.epochs)],
        share=sum(steps) / sum(whole),
    )


def _curve(recorded: Table, point: dict[str, object], seed: int) -> list[float]:
    """Return a run's losses up to where it ended: one that diverged ends there, without a result."""
    return [float(loss) for loss in recorded.curve(point, seed) if math.isfinite(loss)]


def _best(curves: Sequence[Sequence[float]], steps: Sequence[int], epochs: int) -> int:
    """Return the trial that completed with the least loss."""
    done = [number for number, count in enumerate(steps) if count == epochs]
    return min(done, key=lambda number: curves[number][-1])


def measure(name: str, seeds: int) -> list[Pair]:
    """Run studies on one table."""
    recorded = load(name)
    return [study(recorded, seed) for seed in range(seeds)]


def measure_fronts(name: str, seeds: int) -> list[fronts.Fronts]:
    """Run studies with two objectives on one table."""
    recorded = load(name)
    return [fronts.study(recorded, rule(recorded), trials=TRIALS, workers=WORKERS, seed=seed) for seed in range(seeds)]


def single(seeds: int) -> list[Promise]:
    """Compare and show studies with one objective."""
    rows, promises = [], []
    for name in names():
        pairs, noise = measure(name, seeds), luck(load(name))
        lost = statistics.median(pair.added for pair in pairs)
        share = statistics.median(pair.share for pair in pairs)
        whole, pruned = (
            statistics.median(column) for column in zip(*((p.whole, p.pruned) for p in pairs), strict=True)
        )
        rows.append([name, *(f"{value:.3f}" for value in (whole, pruned, lost, noise, share))])
        promises += [
            Promise(f"{name}: share of epochs", share, MOST_SHARE, at_most=True),
            Promise(f"{name}: regret added, in units of luck", lost / noise, 1.0, at_most=True),
        ]
    print(table(["table", "regret whole", "pruned", "added", "luck", "share of epochs"], rows))
    return promises


def double(seeds: int) -> list[Promise]:
    """Compare and show studies with two objectives."""
    rows, promises = [], []
    for name in names():
        runs = measure_fronts(name, seeds)
        (lost, error), noise = fronts.lost(runs), fronts.noise(runs)
        whole, pruned, share = (
            statistics.mean(column) for column in zip(*((r.whole, r.pruned, r.share) for r in runs), strict=True)
        )
        rows.append([name, *(f"{value:.3f}" for value in (whole, pruned, lost, error, noise, share))])
        promises += [
            Promise(f"{name}, two objectives: share of epochs", share, MOST_SHARE, at_most=True),
            Promise(f"{name}, two objectives: volume lost, in units of noise", lost / noise, 1.0, at_most=True),
        ]
    print(table(["table", "volume whole", "pruned", "lost", "+-", "noise", "share of epochs"], rows))
    return promises


def main() -> None:
    """Measure, print a table, and the line for programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", action="store_true", help="end with one line for programs")
    given = parser.parse_args()
    seeds = 10 if given.quick else 300 if given.full else 100
    promises = single(seeds) + double(seeds)
    print(show(promises))
    if given.json:
        print(line("pruning", promises, seeds=seeds))


if __name__ == "__main__":
    main()
