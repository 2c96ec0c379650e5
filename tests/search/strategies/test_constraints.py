"""Model-based strategies keep to where the constraints are kept."""

import statistics
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.records import record
from search.definition.parse import StudyDefinition, parse_study
from search.scoring import violation
from search.strategies.table import make

LINE = {"type": "float", "low": 0.0, "high": 1.0}


def study(strategy: str) -> StudyDefinition:
    raw: dict[str, Any] = {
        "name": "constrained",
        "objective": {"external": True},
        "metrics": [
            {"name": "loss", "goal": "minimize"},
            {"name": "kept", "goal": "maximize", "role": "constraint", "threshold": 0.6},
        ],
        "space": {"x": LINE, "y": LINE},
        "search": {"strategy": strategy},
        "budget": {"trials": 100},
    }
    return parse_study(raw)


def best(strategy: str, seed: int) -> tuple[float, int]:
    """Return the lowest feasible loss of sixty trials, and how many of the last thirty were feasible."""
    definition = study(strategy)
    suggest = make(definition, seed)
    losses, feasible = [1e9], 0
    for number in range(60):
        point = suggest.suggest(range(number, number + 1))[0]
        loss = point.params["x"] + 2 * point.params["y"]
        values = {"loss": loss, "kept": min(point.params["x"], point.params["y"])}
        ended = record(number, seq=number + 1, state="completed", params=point.params, score=loss)
        beyond = violation(definition, values)
        suggest.update([replace(ended, values=values, violation=beyond)])
        if beyond == 0:
            losses.append(loss)
            feasible += number >= 30
    return min(losses), feasible


@pytest.mark.parametrize("strategy", ["bayesian", "nsga2"])
def test_the_best_feasible_point_lies_on_the_bound(strategy: str) -> None:
    """The loss alone leads to where nothing is feasible; at random 4.8 of the last thirty are."""
    found = [best(strategy, seed) for seed in range(5)]
    drawn = [best("random", seed) for seed in range(5)]
    assert statistics.median(loss for loss, _ in found) < statistics.median(loss for loss, _ in drawn)
    assert statistics.median(feasible for _, feasible in found) > 8
