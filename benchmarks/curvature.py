"""What uses of curvature find in networks that fit all they are trained on: `python -m benchmarks.curvature --json`.

An MLP of 64 hidden units is trained on digits and on breast_cancer until it makes no error there, from as many seeds as
the size says, and looked back at with every use. The table has medians over seeds, each with the interval in which the
median lies (docs/curvature.md shows it).
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence

import torch

from benchmarks.intervals import median_interval
from benchmarks.promises import Promise, line, show, table
from training import recipes
from training.posthoc.table import USES
from training.tasks import CLASSIFICATION
from training.watch import Nobody

SEEDS = {"quick": 2, "standard": 11, "full": 31}
DATA = ("digits", "breast_cancer")
NETWORK = {"kind": "mlp", "hidden": [64]}
PARAMS = {"optimizer": "adam", "lr": 0.01, "batch_size": 32}
EPOCHS = 40

Values = Mapping[str, float]


class _Last(Nobody):
    """Keeps the last report."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def report(self, step: int, values: dict[str, float]) -> None:
        del step
        self.values = values


def looked_back(data: str, seed: int) -> Values:
    """Train once, and return what the last step reports."""
    watch = _Last()
    uses = list(USES[CLASSIFICATION.name])
    goal = {"recipe": "classifier", "data": data, "network": NETWORK, "epochs": EPOCHS, "curvature": uses}
    recipes.run(goal, PARAMS, seed=seed, watch=watch)
    return watch.values


def _cells(name: str, found: Mapping[str, Sequence[Values]]) -> list[str]:
    return [name, *(_spread([values[name] for values in found[data]]) for data in DATA)]


def _spread(values: Sequence[float]) -> str:
    around = median_interval(values)
    return f"{statistics.median(values):.4g} ({around.low:.4g} to {around.high:.4g})"


def _promises(found: Mapping[str, Sequence[Values]]) -> list[Promise]:
    def median(data: str, of: Callable[[Values], float]) -> float:
        return statistics.median(of(values) for values in found[data])

    likelier = median("digits", lambda values: values["laplace_nll"] / values["map_nll"])
    kept = median("digits", lambda values: values["ewc_kept"] - values["plain_kept"])
    pruned = [
        Promise(
            f"{data}: accuracy that saliency keeps beyond chance",
            median(data, lambda values: values["pruned_accuracy"] - values["pruned_random_accuracy"]),
            0.0,
        )
        for data in DATA
    ]
    return [
        Promise("digits: negative log-likelihood of Laplace over that of the MAP", likelier, 1.0, at_most=True),
        Promise("digits: accuracy on the first task that consolidation keeps beyond none", kept, 0.0),
        *pruned,
    ]


def main(arguments: Sequence[str]) -> None:
    """Measure, print the table, and with --json the line for programs."""
    parser = argparse.ArgumentParser(prog="benchmarks.curvature")
    for size in ("quick", "full"):
        parser.add_argument(f"--{size}", dest="size", action="store_const", const=size, default="standard")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = {data: [looked_back(data, seed) for seed in range(SEEDS[given.size])] for data in DATA}
    names = [name for name in found[DATA[0]][0] if name not in {"grad_norm", "update_ratio"}]
    print(table(["value", *DATA], [_cells(name, found) for name in names]))
    promises = _promises(found)
    print(show(promises))
    if given.json:
        print(line("curvature", promises, seeds=SEEDS[given.size], epochs=EPOCHS))


if __name__ == "__main__":
    main(sys.argv[1:])
