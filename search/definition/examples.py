"""Whole studies, as posted: for the API's documentation, the guides and the tests."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

DIGITS_MLP: dict[str, Any] = {
    "name": "digits-mlp",
    "objective": {
        "recipe": "classifier",
        "data": "digits",
        "network": {"kind": "mlp", "hidden": [64]},
        "epochs": 20,
    },
    "metrics": [{"name": "val_loss", "goal": "minimize"}],
    "space": {
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
    },
    "search": {"strategy": "bayesian", "seed": 1},
    "pruning": {"kind": "asha", "reduction": 3},
    "budget": {"trials": 100, "seconds": 600},
    "parallelism": 16,
}

IRIS_GRID: dict[str, Any] = {
    "name": "iris-grid",
    "objective": {
        "recipe": "classifier",
        "data": "iris",
        "network": {"kind": "mlp", "hidden": [16]},
        "epochs": 10,
    },
    "metrics": [{"name": "val_accuracy", "goal": "maximize"}],
    "space": {
        "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
        "lr": {"type": "float", "low": 1e-3, "high": 1.0, "scale": "log", "levels": 4},
        "batch_size": {"type": "int", "low": 8, "high": 24, "step": 8},
    },
    "search": {"strategy": "grid", "seed": 1},
}

WINE_RANDOM: dict[str, Any] = {
    "name": "wine-random",
    "objective": {
        "recipe": "classifier",
        "data": "wine",
        "network": {"kind": "mlp", "hidden": [32]},
        "epochs": 10,
        "optimizer": "adamw",
        "batch_size": 16,
    },
    "metrics": [
        {"name": "val_loss", "goal": "minimize"},
        {"name": "val_accuracy", "goal": "maximize", "role": "store"},
    ],
    "space": {
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "scale": "log"},
        "beta1": {"type": "float", "low": 0.5, "high": 0.98, "scale": "reverse_log"},
        "weight_decay": {"type": "float", "low": 5e-3, "high": 1.0, "scale": "log"},
        "schedule": {"type": "categorical", "choices": ["constant", "cosine"]},
    },
    "search": {"strategy": "random", "seed": 1},
    "pruning": {"kind": "median", "startup": 5, "warmup": 2},
    "budget": {"trials": 30},
}

# The recommended parameters of two optimizers, with one range of its own.
DIGITS_PRESET: dict[str, Any] = {
    "name": "digits-preset",
    "objective": {
        "recipe": "classifier",
        "data": "digits",
        "network": {"kind": "mlp", "hidden": [64]},
        "epochs": 20,
        "schedule": "cosine",
        "batch_size": 64,
    },
    "metrics": [{"name": "val_loss", "goal": "minimize"}],
    "space": {
        "preset": ["adamw", "momentum"],
        "lr": {"type": "float", "low": 1e-3, "high": 0.3, "scale": "log"},
    },
    "search": {"strategy": "bayesian", "seed": 1},
    "budget": {"trials": 60},
}

# A rate that follows from another and the batch size, a sum that is kept, a value that all trials share.
DIGITS_SCALED: dict[str, Any] = {
    "name": "digits-scaled",
    "objective": {
        "recipe": "classifier",
        "data": "digits",
        "network": {"kind": "mlp", "hidden": [64]},
        "epochs": 20,
        "schedule": "wsd",
    },
    "metrics": [{"name": "val_loss", "goal": "minimize"}],
    "space": {
        "optimizer": {"type": "categorical", "choices": ["sgd", "momentum"]},
        "base_lr": {"type": "float", "low": 1e-3, "high": 0.3, "scale": "log"},
        "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
        "lr": {"type": "derived", "of": "base_lr", "by": "batch_size", "rule": "linear", "reference": 32},
        "momentum": {"type": "fixed", "value": 0.9, "when": {"optimizer": ["momentum"]}},
        "warmup": {"type": "float", "low": 0.0, "high": 0.5},
        "decay_last": {"type": "float", "low": 0.1, "high": 1.0},
    },
    "constraints": [{"terms": {"warmup": 1, "decay_last": 1}, "at_most": 1.0}],
    "search": {"strategy": "random", "seed": 1},
    "budget": {"trials": 40},
}

# Asked for and told by whoever runs it; metrics and parameters are the runner's own.
BRANIN_EXTERNAL: dict[str, Any] = {
    "name": "branin",
    "objective": {"external": True},
    "metrics": [{"name": "value", "goal": "minimize"}],
    "space": {
        "x1": {"type": "float", "low": -5.0, "high": 10.0},
        "x2": {"type": "float", "low": 0.0, "high": 15.0},
    },
    "search": {"strategy": "bayesian", "seed": 1},
    "budget": {"trials": 60},
}

# Accepted once a worker has registered an objective of this name; see docs/objectives.md.
POLYNOMIAL_COMMAND: dict[str, Any] = {
    "name": "polynomial",
    "objective": {"name": "polynomial", "steps": 30, "options": {"degree": 3}},
    "metrics": [{"name": "loss", "goal": "minimize"}],
    "space": {
        "rate": {"type": "float", "low": 1e-3, "high": 1.0, "scale": "log"},
        "decay": {"type": "float", "low": 0.0, "high": 0.1},
    },
    "search": {"strategy": "random", "seed": 1},
    "pruning": {"kind": "asha", "reduction": 3, "min_steps": 3},
    "budget": {"trials": 20},
    "report": "best",
    "timeouts": {"progress": 60.0, "total": None},
}

# Trials wait at rungs until they are promoted, and the study ends once it has found enough, or device time runs short.
WINE_PROMOTION: dict[str, Any] = {
    **WINE_RANDOM,
    "name": "wine-promotion",
    "pruning": {"kind": "asha", "reduction": 3, "mode": "promote"},
    "stopping": {"target": 0.05, "no_improvement": {"trials": 30, "min_delta": 0.001}},
    "budget": {"trials": 200, "gpu_seconds": 600.0},
}

# Two metrics against each other, and one that must keep its bound; whoever runs the trials measures all three.
TRADEOFFS_EXTERNAL: dict[str, Any] = {
    "name": "small-and-accurate",
    "objective": {"external": True},
    "metrics": [
        {"name": "error", "goal": "minimize"},
        {"name": "parameters", "goal": "minimize"},
        {"name": "latency_ms", "goal": "minimize", "role": "constraint", "threshold": 20.0},
    ],
    "space": {
        "layers": {"type": "int", "low": 1, "high": 8},
        "width": {"type": "int", "low": 8, "high": 1024, "scale": "log"},
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "scale": "log"},
    },
    "search": {"strategy": "nsga2", "seed": 1, "population_size": 24},
    "budget": {"trials": 200},
}

EXAMPLE_STUDIES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "digits-mlp": DIGITS_MLP,
        "iris-grid": IRIS_GRID,
        "wine-random": WINE_RANDOM,
        "digits-preset": DIGITS_PRESET,
        "digits-scaled": DIGITS_SCALED,
        "wine-promotion": WINE_PROMOTION,
    }
)
# Kept apart: what they need is not there in every deployment.
FURTHER_STUDIES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {"branin": BRANIN_EXTERNAL, "polynomial": POLYNOMIAL_COMMAND, "small-and-accurate": TRADEOFFS_EXTERNAL}
)
