"""What successive halving costs and saves, on recorded training: `python -m benchmarks.pruning --json`.

The curves of the tuning tables (docs/tables.md) stand for trials: a study of random points is run over them twice, once
whole and once pruned by ASHA as shipped, decided by the same code as in the service (`search.pruners.simulate`), four
trials at a time. Compared are the best configurations (normalised regret: 0 is the table's best, 1 a middling one) and
the epochs that were trained. "Within noise" is the table's luck: what the winner by all seeds but one comes to with
the remaining one.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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


def study(recorded: Table, seed: int) -> Pair:
    """Run one study of random points both ways."""
    rng = np.random.default_rng(seed)
    points = [recorded.points[place] for place in rng.choice(len(recorded.points), TRIALS, replace=False)]
    curves = [_curve(recorded, point, int(rng.integers(recorded.seeds))) for point in points]
    pruning = AshaPruning(kind="asha", min_steps=FIRST[recorded.epochs])
    steps = simulate(pruning, curves, workers=WORKERS, seed=seed)
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


def main() -> None:
    """Measure, print a table, and the line for programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", action="store_true", help="end with one line for programs")
    given = parser.parse_args()
    seeds = 10 if given.quick else 300 if given.full else 100
    rows, promises = [], []
    for name in names():
        pairs, noise = measure(name, seeds), luck(load(name))
        lost = statistics.median(pair.pruned - pair.whole for pair in pairs)
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
    print(show(promises))
    if given.json:
        print(line("pruning", promises, seeds=seeds))


if __name__ == "__main__":
    main()
