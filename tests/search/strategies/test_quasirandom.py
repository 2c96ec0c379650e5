"""Sobol and Halton studies: the space is covered evenly, on every scale, whatever conditions switch off."""

from collections import Counter
from typing import Any

import pytest

from search.definition.parse import StudyDefinition, parse_study
from search.strategies.table import make

SPACE: dict[str, Any] = {
    "optimizer": {"type": "categorical", "choices": ["sgd", "adam", "momentum", "lion"]},
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
    "layers": {"type": "int", "low": 1, "high": 8},
    "momentum": {"type": "float", "low": 0.0, "high": 1.0, "when": {"optimizer": ["momentum"]}},
    "width": {"type": "int", "low": 1, "high": 1024, "scale": "log"},
}


def study(strategy: str, space: dict[str, Any] = SPACE) -> StudyDefinition:
    return parse_study(
        {
            "name": "even",
            "objective": {"external": True},
            "metrics": [{"name": "loss", "goal": "minimize"}],
            "space": space,
            "search": {"strategy": strategy},
            "budget": {"trials": 100},
        }
    )


def test_sobol_takes_every_choice_and_decade_equally_often() -> None:
    points = [suggestion.params for suggestion in make(study("sobol"), 4).suggest(range(64))]
    assert set(Counter(point["optimizer"] for point in points).values()) == {16}
    assert set(Counter(point["layers"] for point in points).values()) == {8}
    decades = [1e-4, 1e-3, 1e-2, 1e-1]
    assert set(Counter(sum(point["lr"] >= decade for decade in decades) for point in points).values()) == {16}


def test_halton_takes_every_choice_about_equally_often() -> None:
    points = [suggestion.params for suggestion in make(study("halton"), 4).suggest(range(64))]
    assert max(Counter(point["optimizer"] for point in points).values()) <= 18


@pytest.mark.parametrize("strategy", ["sobol", "halton"])
def test_a_condition_moves_no_other_parameter(strategy: str) -> None:
    free = {name: {key: value for key, value in what.items() if key != "when"} for name, what in SPACE.items()}
    # Named so that both spaces have the same order: a conditional parameter comes right behind its parent.
    without = {"layers": free["layers"], "lr": free["lr"], "optimizer": free["optimizer"], "width": free["width"]}
    without["optimizer_m"] = free["momentum"]
    within = {**without, "optimizer_m": SPACE["momentum"]}
    conditional = make(study(strategy, within), 2).suggest(range(30))
    always = make(study(strategy, without), 2).suggest(range(30))
    assert any("optimizer_m" not in suggestion.params for suggestion in conditional)
    for some, every in zip(conditional, always, strict=True):
        assert some.params == {name: every.params[name] for name in some.params}


@pytest.mark.parametrize("strategy", ["sobol", "halton"])
def test_points_say_where_they_come_from(strategy: str) -> None:
    (suggestion,) = make(study(strategy), 1).suggest(range(6, 7))
    assert (suggestion.origin, suggestion.why, suggestion.dedupe_key) == (strategy, {"draw": 6}, None)
