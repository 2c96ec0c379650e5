"""Losses, violations, and which measurement stands for a trial."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.definition.parse import StudyDefinition, parse_study
from search.scoring import chosen, losses, missing, score, unmeasured, violation


def study(metrics: list[dict[str, Any]], **more: Any) -> StudyDefinition:
    raw: dict[str, Any] = {
        "name": "several",
        "objective": {"external": True},
        "metrics": metrics,
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "search": {"strategy": "random"},
        "budget": {"trials": 10},
        **more,
    }
    return parse_study(raw)


def constraint(name: str, goal: str, threshold: float) -> dict[str, Any]:
    return {"name": name, "goal": goal, "role": "constraint", "threshold": threshold}


LOSS = {"name": "loss", "goal": "minimize"}
ACCURACY = {"name": "accuracy", "goal": "maximize"}
LATENCY = constraint("latency", "minimize", 20.0)
RECALL = constraint("recall", "maximize", 0.5)


def test_losses_are_lower_for_better() -> None:
    several = study([LOSS, ACCURACY])
    assert losses(several, {"loss": 2.0, "accuracy": 0.5, "other": 1.0}) == (2.0, -0.5)
    assert losses(several, {"loss": 2.0}) is None
    assert losses(several, None) is None
    assert missing(several, {"loss": 2.0}) == ["accuracy"]


def test_a_score_is_of_one_metric() -> None:
    assert score(study([ACCURACY]), {"accuracy": 0.5}) == -0.5
    assert score(study([ACCURACY]), {}) is None
    assert score(study([LOSS, ACCURACY]), {"loss": 2.0, "accuracy": 0.5}) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"latency": 20.0, "recall": 0.5}, 0.0),  # the threshold itself is kept
        ({"latency": 1.0, "recall": 0.9}, 0.0),
        ({"latency": 30.0, "recall": 0.9}, 0.5),
        ({"latency": 30.0, "recall": 0.25}, 1.0),
        ({"latency": 1.0, "recall": -0.5}, 2.0),
        ({"latency": 1.0}, None),
        (None, None),
    ],
)
def test_violations_are_measured_in_thresholds(values: Mapping[str, float] | None, expected: float | None) -> None:
    assert violation(study([LOSS, LATENCY, RECALL]), values) == expected


def test_a_threshold_of_zero_counts_in_plain_units() -> None:
    assert violation(study([LOSS, constraint("drift", "minimize", 0.0)]), {"drift": 3.0}) == 3.0


def test_without_constraints_every_result_is_feasible() -> None:
    assert violation(study([LOSS]), {"loss": 1.0}) == 0.0
    assert violation(study([LOSS]), None) is None


def test_what_was_not_measured_is_named() -> None:
    assert unmeasured(study([LOSS, LATENCY, RECALL]), {"recall": 1.0}) == ["latency"]
    assert unmeasured(study([LOSS, LATENCY]), None) == ["latency"]


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE, FINITE, FINITE, FINITE)
def test_a_violation_is_finite_and_zero_only_where_thresholds_are_kept(a: float, b: float, x: float, y: float) -> None:
    found = violation(study([LOSS, constraint("p", "minimize", a), constraint("q", "maximize", b)]), {"p": x, "q": y})
    assert found is not None
    assert math.isfinite(found)
    assert (found == 0.0) == (x <= a and y >= b)


def test_the_smallest_violation_is_one() -> None:
    assert violation(study([LOSS, constraint("q", "maximize", 0.0)]), {"q": -5e-324}) == 5e-324


def test_of_several_metrics_the_last_measurement_with_all_stands() -> None:
    several = study([LOSS, ACCURACY])
    first, second = {"loss": 1.0, "accuracy": 0.9}, {"loss": 2.0, "accuracy": 0.1}
    assert chosen(several, None, {"loss": 5.0}) == {"loss": 5.0}
    assert chosen(several, {"loss": 5.0}, first) == first
    assert chosen(several, first, second) == second
    assert chosen(several, first, {"loss": 0.0}) == first


def test_the_best_measurement_keeps_the_constraints() -> None:
    careful = study([LOSS, LATENCY], report="best")
    kept, broken = {"loss": 1.0, "latency": 10.0}, {"loss": 0.1, "latency": 30.0}
    unknown = {"loss": 0.0}
    assert chosen(careful, kept, broken) == kept
    assert chosen(careful, broken, kept) == kept
    assert chosen(careful, broken, unknown) == broken
    assert chosen(careful, kept, {"loss": 0.5, "latency": 20.0}) == {"loss": 0.5, "latency": 20.0}
