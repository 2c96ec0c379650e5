"""Studies to be posted: drawn from a seed, small, and of every kind that the ledger treats differently."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from tests.faults import stub

Definition = dict[str, Any]

_CONTINUOUS: Mapping[str, Any] = {
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
    "width": {"type": "int", "low": 1, "high": 64},
}
_RECIPE = {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [4]}, "epochs": 3}


def draw(rng: Random, *, external: bool) -> Definition:
    """Return a study; with `external` nobody but clients that ask can run its trials."""
    kinds = list(KINDS) if not external else ["grid", "random", "bayesian"]
    weights = [WEIGHTS[kind] for kind in kinds]
    kind = rng.choices(kinds, weights)[0]
    study: Definition = {
        "name": f"{kind} {rng.getrandbits(48):012x}",  # its own, so that a doubled study shows
        "metrics": [{"name": stub.METRIC, "goal": "minimize"}],
        "objective": {"external": True} if external else _stub(rng),
        **KINDS[kind](rng),
    }
    if rng.random() < 0.3:
        study["parallelism"] = rng.randint(1, 4)
    return study


def _stub(rng: Random, **options: Any) -> Definition:
    return {"name": "stub", "device": "cpu", "options": {"pause": rng.choice([0.02, 0.05, 0.1, 0.3]), **options}}


def _search(rng: Random, strategy: str, **more: Any) -> Definition:
    return {"strategy": strategy, "seed": rng.randrange(2**31), **more}


def _grid(rng: Random) -> Definition:
    choices = [{"type": "categorical", "choices": [f"choice {c}" for c in range(rng.randint(2, 6))]} for _ in "ab"]
    space = {"first": choices[0], "second": choices[1], "third": {"type": "int", "low": 1, "high": rng.randint(2, 3)}}
    return {"space": space, "search": _search(rng, "grid")}


def _random(rng: Random) -> Definition:
    return {
        "space": dict(_CONTINUOUS),
        "search": _search(rng, "random"),
        "budget": {"trials": rng.randint(10, 60)},
    }


def _bayesian(rng: Random) -> Definition:
    return _random(rng) | {
        "search": _search(rng, "bayesian", startup=5),
        "budget": {"trials": rng.randint(6, 12)},
    }


def _pruned(rng: Random) -> Definition:
    rules = [
        {"kind": "asha", "reduction": 2},
        {"kind": "median", "startup": 3, "warmup": 1},
    ]
    return _random(rng) | {"pruning": rng.choice(rules), "objective": _stub(rng, steps=5)}


def _failing(rng: Random) -> Definition:
    orders = [order for order in stub.MISBEHAVIOURS if order != "hang"]
    options = {"misbehave": rng.choice(orders), "every": rng.randint(3, 8), "attempts": rng.randint(1, 4)}
    return _random(rng) | {"objective": _stub(rng, **options)}


def _hanging(rng: Random) -> Definition:
    options = {"misbehave": "hang", "every": 6, "attempts": 1}
    return _random(rng) | {
        "budget": {"trials": 8},
        "objective": _stub(rng, **options),
        "timeouts": {"progress": 3.0},
    }


def _real(rng: Random) -> Definition:
    """Train a network: its trainer takes seconds to start, so there are few of these."""
    space = {"lr": {"type": "float", "low": 1e-3, "high": 1.0, "scale": "log"}}
    metrics = [{"name": "val_loss", "goal": "minimize"}]
    return _random(rng) | {"space": space, "objective": dict(_RECIPE), "metrics": metrics}


KINDS: Mapping[str, Callable[[Random], Definition]] = {
    "grid": _grid,
    "random": _random,
    "bayesian": _bayesian,
    "pruned": _pruned,
    "failing": _failing,
    "hanging": _hanging,
    "real": _real,
}
# Of a hundred studies. One in twenty trains a network in earnest.
WEIGHTS: Mapping[str, int] = {
    "grid": 35,
    "random": 25,
    "bayesian": 5,
    "pruned": 15,
    "failing": 12,
    "hanging": 3,
    "real": 5,
}
