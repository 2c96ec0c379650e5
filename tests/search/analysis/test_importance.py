"""Importance on functions whose strong parameters are known, and beside Optuna's evaluators called directly."""

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

from api.routes.analysis import How
from search.analysis.importance import SAMPLE, TREES
from search.analysis.table import METHODS, Importance, Observation, method
from search.definition.parse import parse_study
from search.strategies.table import make

SPACE: Mapping[str, Any] = {
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
    "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "nesterov", *"abcde"]},
    "momentum": {
        "type": "float",
        "low": 0.5,
        "high": 0.999,
        "scale": "reverse_log",
        "when": {"optimizer": ["momentum", "nesterov"]},
    },
    "warmup": {"type": "float", "low": 0.0, "high": 0.3},
    "width": {"type": "int", "low": 1, "high": 8},
    "always": {"type": "int", "low": 3, "high": 3},
}
PLAIN: Mapping[str, Any] = {name: {"type": "float", "low": 0.0, "high": 1.0} for name in "abc"}


def judged(
    how: str, value: Callable[[Mapping[str, Any]], float], *, space: Mapping[str, Any] = SPACE, trials: int = 400
) -> Importance:
    definition = parse_study(
        {
            "name": "known",
            "objective": {"external": True},
            "metrics": [{"name": "loss", "goal": "minimize"}],
            "space": space,
            "search": {"strategy": "random", "seed": 3},
            "budget": {"trials": trials},
        }
    )
    points = [suggestion.params for suggestion in make(definition, 3).suggest(range(trials))]
    return method(how)(definition.space, [Observation(point, value(point)) for point in points], seed=11)


def shares(found: Importance) -> dict[str, float]:
    return {row.parameter: row.importance for row in found.parameters}


@pytest.mark.parametrize("how", METHODS)
@pytest.mark.parametrize("strong", ["lr", "warmup", "width", "optimizer", "momentum"])
def test_the_strong_parameter_comes_first(how: str, strong: str) -> None:
    def value(point: Mapping[str, Any]) -> float:
        weights = {name: 10.0 if name == strong else 0.05 for name in SPACE}
        parts = {
            "lr": abs(math.log10(point["lr"]) + 2) / 2,
            "optimizer": 0.0 if point["optimizer"] == "sgd" else 1.0,
            "momentum": abs(math.log10(1 - point["momentum"]) + 1.2) if "momentum" in point else 1.5,
            "warmup": point["warmup"] / 0.3,
            "width": abs(point["width"] - 3) / 5,
        }
        return float(sum(weights[name] * part for name, part in parts.items()))

    found = judged(how, value)
    first = found.parameters[0]
    # Whether there is a momentum at all tells nearly as much here as which.
    assert first.parameter == strong or (strong == "momentum" and shares(found)["momentum"] > 0.2)
    assert sum(shares(found).values()) == pytest.approx(1.0)
    assert shares(found)["always"] == 0.0
    assert set(shares(found)) == set(SPACE)


@pytest.mark.parametrize("how", METHODS)
def test_a_conditional_parameter_is_judged_where_it_is_active(how: str) -> None:
    found = judged(how, lambda point: point.get("momentum", 0.0) + point["lr"], trials=150)
    over = {row.parameter: row.trials for row in found.parameters}
    assert 0 < over["momentum"] < 150
    assert over["lr"] == (150 if how == "ped_anova" else int(SAMPLE / math.sqrt(2)))


def plain_study(found: list[tuple[dict[str, float], float]]) -> optuna.Study:
    study = optuna.create_study(direction="minimize")
    distributions: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 1.0) for name in PLAIN}
    study.add_trials(
        [optuna.trial.create_trial(params=params, distributions=distributions, value=value) for params, value in found]
    )
    return study


@pytest.mark.parametrize("how", METHODS)
def test_it_agrees_with_optuna_asked_directly(how: str) -> None:
    seen: list[tuple[dict[str, float], float]] = []

    def value(point: Mapping[str, Any]) -> float:
        seen.append((dict(point), 3 * point["a"] + point["b"] ** 2))
        return seen[-1][1]

    found = judged(how, value, space=PLAIN, trials=SAMPLE // 2)
    evaluators = {
        "ped_anova": PedAnovaImportanceEvaluator(),
        "fanova": FanovaImportanceEvaluator(n_trees=TREES, seed=11),
    }
    assert shares(found) == pytest.approx(get_param_importances(plain_study(seen), evaluator=evaluators[how]))


def test_many_choices_cost_no_more_than_few() -> None:
    space = {**PLAIN, "many": {"type": "categorical", "choices": list(range(20))}}
    found = judged("fanova", lambda point: float(point["many"] * 7 % 20 + point["a"]), space=space)
    assert found.parameters[0].parameter == "many"


def test_fanova_takes_a_sample_and_says_so() -> None:
    def value(point: Mapping[str, Any]) -> float:
        return float(point["a"])

    first, again = (judged("fanova", value, space=PLAIN, trials=SAMPLE + 50) for _ in range(2))
    assert first.used == SAMPLE
    assert first == again
    assert judged("ped_anova", value, space=PLAIN, trials=SAMPLE + 50).used == SAMPLE + 50


@pytest.mark.parametrize("how", METHODS)
@pytest.mark.parametrize("space", [SPACE, {"only": {"type": "categorical", "choices": ["x"]}}], ids=["many", "one"])
def test_where_nothing_can_be_told_all_is_0(how: str, space: Mapping[str, Any]) -> None:
    assert set(shares(judged(how, lambda _: 0.5, space=space, trials=40)).values()) == {0.0}


@pytest.mark.parametrize("how", METHODS)
def test_values_that_differ_at_one_point_tell_nothing(how: str) -> None:
    rising = iter(range(1000))
    found = judged(how, lambda _: float(next(rising)), space={"x": {"type": "int", "low": 1, "high": 1}}, trials=40)
    assert shares(found) == {"x": 0.0}


@pytest.mark.parametrize("how", METHODS)
def test_a_point_outside_the_space_is_left_out(how: str) -> None:
    definition = parse_study(
        {
            "name": "known",
            "objective": {"external": True},
            "metrics": [{"name": "loss", "goal": "minimize"}],
            "space": PLAIN,
            "search": {"strategy": "random"},
            "budget": {"trials": 1},
        }
    )
    inside = [Observation({"a": i / 20, "b": (i * 7 % 20) / 20, "c": (i * 3 % 20) / 20}, i / 20) for i in range(20)]
    strange = Observation({"a": 7.0, "b": 0.5, "c": 0.5}, -100.0)
    with_it, without = (method(how)(definition.space, seen, seed=1) for seen in ([*inside, strange], inside))
    assert with_it == without


def test_the_address_offers_every_method() -> None:
    assert get_args(get_args(How)[0]) == METHODS
