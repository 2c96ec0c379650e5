"""The study of `benchmarks.time_to_target`, what counts as its target, and how the best known value was found."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from benchmarks.hands import Work
from benchmarks.plain_torch import Run, Values, train
from search.definition.parse import parse_study
from search.strategies.table import make

METRIC = "val_accuracy"
HIDDEN = (64,)
EPOCHS = 20
# As in the README: what we recommend.
REDUCTION, MIN_STEPS = 3, 4
MOST_TRIALS = 1000
SPACE: Mapping[str, Any] = MappingProxyType(
    {
        "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "nesterov", "adam"]},
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
        "warmup": {"type": "float", "low": 0.0, "high": 0.3},
        "momentum": {
            "type": "float",
            "low": 0.5,
            "high": 0.999,
            "scale": "reverse_log",
            "when": {"optimizer": ["momentum", "nesterov"]},
        },
        "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
    }
)

# The best validation accuracy after the last epoch, of 360 examples, in a random study of 2,000 trials of this space
# without pruning (seed 9000): one has 356 right, two 355, ten 354, 33 have 353.
BEST_KNOWN = 356 / 360
# Within one percent: 353 right, which one random trial in 43 has.
SHARE = 0.99
# Reached once a trial that completed, all epochs, has at least this accuracy after its last.
TARGET = SHARE * BEST_KNOWN


def study(seed: int, *, strategy: str) -> dict[str, Any]:
    """Return the study to post."""
    network = {"kind": "mlp", "hidden": list(HIDDEN)}
    return {
        "name": f"{strategy} {seed}",
        "objective": {"recipe": "classifier", "data": "digits", "network": network, "epochs": EPOCHS},
        "metrics": [{"name": METRIC, "goal": "maximize"}],
        "space": dict(SPACE),
        "search": {"strategy": strategy, "seed": seed},
        "pruning": {"kind": "asha", "reduction": REDUCTION, "min_steps": MIN_STEPS},
        "budget": {"trials": MOST_TRIALS},
    }


def prepare_random(place: int, trials: int, processes: int, seed: int) -> Work:
    """Train a process's share of a random study to the end: a `Prepare` of `benchmarks.hands`.

    The work returns the last values of each trial that did not diverge.
    """
    torch.set_num_threads(1)
    points = make(parse_study(study(seed, strategy="random")), seed).suggest(range(place, trials, processes))
    runs = [Run(HIDDEN, EPOCHS, point.params, seed=seed + number) for number, point in enumerate(points)]
    return lambda: _finals(runs)


def _finals(runs: Sequence[Run]) -> list[Values]:
    finals: list[Values] = []
    for run in runs:
        last: Values = {}

        def keep(_: int, values: Values, last: Values = last) -> bool:
            last.update(values)
            return False

        if train(run, keep) == "completed":
            finals.append(last)
    return finals
