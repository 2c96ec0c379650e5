"""The trials that `benchmarks.population` trains on every side: a random study of an MLP on digits."""

from collections.abc import Mapping
from typing import Any

from benchmarks.plain_torch import Run
from search.definition.parse import parse_study
from search.strategies.table import make

SEED = 20_260_101
# Rates at which no run diverges: one that ended early would count as one that was trained.
SPACE: Mapping[str, Any] = {
    "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "nesterov", "adam"]},
    "lr": {"type": "float", "low": 1e-3, "high": 3e-2, "scale": "log"},
    "momentum": {"type": "float", "low": 0.5, "high": 0.95, "when": {"optimizer": ["momentum", "nesterov"]}},
}


def study(width: int, trials: int, *, epochs: int, device: str = "cpu") -> dict[str, Any]:
    """Return the study to post: batches of the catalog's default size, no pruning."""
    network = {"kind": "mlp", "hidden": [width]}
    objective = {"recipe": "classifier", "data": "digits", "network": network, "epochs": epochs, "device": device}
    return {
        "name": f"width {width}",
        "objective": objective,
        "metrics": [{"name": "val_loss", "goal": "minimize"}],
        "space": dict(SPACE),
        "search": {"strategy": "random", "seed": SEED},
        "budget": {"trials": trials},
    }


def runs(width: int, trials: int, *, epochs: int) -> list[Run]:
    """Return the same trials, as the service draws them from the study's seed."""
    strategy = make(parse_study(study(width, trials, epochs=epochs)), SEED)
    points = strategy.suggest(range(trials))
    return [Run([width], epochs, point.params, seed=number) for number, point in enumerate(points)]
