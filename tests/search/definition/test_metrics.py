"""Roles of metrics: what is refused, where, and with which remedy."""

import copy
from typing import Any

import pytest

from search.definition.examples import FURTHER_STUDIES
from search.definition.parse import parse_study
from search.errors import InvalidStudy

TRADEOFFS = FURTHER_STUDIES["small-and-accurate"]


def study(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(TRADEOFFS), **changes}


def objectives(count: int) -> list[dict[str, Any]]:
    return [{"name": f"m{place}", "goal": "minimize"} for place in range(count)]


def metric(role: str, **more: Any) -> dict[str, Any]:
    return {"name": "latency", "goal": "minimize", "role": role, **more}


def faults(raw: object) -> dict[str, str]:
    with pytest.raises(InvalidStudy) as refused:
        parse_study(raw)
    return {fault.path: fault.message for fault in refused.value.faults}


def test_objectives_and_constraints_are_read() -> None:
    definition = parse_study(study())
    assert [each.name for each in definition.objectives] == ["error", "parameters"]
    assert [(each.name, each.threshold) for each in definition.thresholds] == [("latency_ms", 20.0)]
    assert definition.several_objectives
    assert not parse_study(study(metrics=objectives(1))).several_objectives


def test_a_metric_without_a_threshold_is_stored_as_before() -> None:
    assert parse_study(study()).model_dump(mode="json")["metrics"][0] == {
        "name": "error",
        "goal": "minimize",
        "role": "optimize",
    }


BAD: list[tuple[str, list[Any], str, str]] = [
    ("no threshold", [*objectives(1), metric("constraint")], "metrics[1].threshold", "is required with the role constraint"),
    ("null threshold", [*objectives(1), metric("constraint", threshold=None)], "metrics[1].threshold", "is required"),
    ("of an objective", [metric("optimize", threshold=1.0)], "metrics[0].threshold", "leave it out, or give that role"),
    ("of a stored one", [*objectives(1), metric("store", threshold=1.0)], "metrics[1].threshold", "not store"),
    ("not a number", [*objectives(1), metric("constraint", threshold=float("nan"))], "metrics[1].threshold", "finite"),
    ("infinite", [*objectives(1), metric("constraint", threshold=float("inf"))], "metrics[1].threshold", "finite"),
    ("text", [*objectives(1), metric("constraint", threshold="1")], "metrics[1].threshold", "must be a number"),
    ("truth", [*objectives(1), metric("constraint", threshold=True)], "metrics[1].threshold", "must be a number"),
    ("unknown role", [*objectives(1), metric("watch")], "metrics[1].role", "valid are optimize, constraint, store"),
    ("nothing to optimize", [metric("constraint", threshold=1.0)], "metrics", "at least one metric must have the role optimize"),
    ("nine objectives", objectives(9), "metrics", "at most 8 may have the role optimize, got 9: m0, m1"),
]  # fmt: skip


@pytest.mark.parametrize(("metrics", "path", "says"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_metrics(metrics: list[Any], path: str, says: str) -> None:
    assert says in faults(study(metrics=metrics))[path]


def test_eight_objectives_are_taken() -> None:
    assert len(parse_study(study(metrics=objectives(8))).objectives) == 8


def test_a_strategy_for_one_metric_names_those_for_several() -> None:
    said = faults(study(search={"strategy": "bayesian"}))["search.strategy"]
    assert said.startswith(
        "bayesian optimizes one metric, and several are given (error, parameters): use grid, random, sobol, halton, nsga2"
    )


@pytest.mark.parametrize("search", [{"strategy": "random"}, {"strategy": "nsga2"}, {"strategy": "grid"}])
def test_strategies_for_several_metrics(search: dict[str, Any]) -> None:
    space = {"layers": {"type": "int", "low": 1, "high": 8}}
    assert parse_study(study(search=search, space=space)).several_objectives


def test_one_metric_with_constraints_suits_any_strategy() -> None:
    constrained = [*objectives(1), metric("constraint", threshold=1.0)]
    for strategy in ("random", "bayesian", "nsga2"):
        assert parse_study(study(metrics=constrained, search={"strategy": strategy}, report="best")).thresholds


def test_every_fault_is_named_at_once() -> None:
    raw = study(
        metrics=[*objectives(2), metric("constraint")],
        search={"strategy": "bayesian"},
        report="best",
        pruning={"kind": "asha", "mode": "promote"},
    )
    found = faults(raw)
    assert found.keys() == {"metrics[2].threshold", "search.strategy", "report", "pruning.mode"}
    assert "give last" in found["report"]
    assert "use stop, or give all but one the role" in found["pruning.mode"]


@pytest.mark.parametrize(
    ("search", "path", "says"),
    [
        ({"population_size": 1}, "search.population_size", "at least 2"),
        ({"population_size": 2000}, "search.population_size", "at most 1000"),
        ({"mutation": 1.5}, "search.mutation", "at most 1"),
        ({"crossover": float("nan")}, "search.crossover", "finite"),
        ({"startup": 5}, "search.startup", "valid are strategy, seed, population_size"),
    ],
)
def test_bad_settings_of_nsga2(search: dict[str, Any], path: str, says: str) -> None:
    assert says in faults(study(search={"strategy": "nsga2", **search}))[path]
