from typing import Any

import optuna
import pytest

from benchmarks.optuna_torch import objective, suggest
from benchmarks.target_trials import METRIC, SPACE, TARGET


def fixed(**params: Any) -> optuna.trial.FixedTrial:
    return optuna.trial.FixedTrial({"lr": 0.01, "warmup": 0.1, "batch_size": 64, **params})


def test_a_parameter_whose_condition_fails_is_not_asked_for() -> None:
    assert "momentum" not in suggest(fixed(optimizer="adam"), SPACE)


def test_the_distance_to_one_is_searched_where_ours_is_reverse_log() -> None:
    trial = fixed(optimizer="nesterov", **{"1 - momentum": 0.05})
    assert suggest(trial, SPACE)["momentum"] == pytest.approx(0.95)
    asked = trial.distributions["1 - momentum"]
    assert isinstance(asked, optuna.distributions.FloatDistribution)
    assert [asked.low, asked.high] == pytest.approx([0.001, 0.5])
    assert asked.log


def test_the_objective_is_the_last_value_of_the_metric() -> None:
    trained = objective(SPACE, hidden=[8], epochs=2, metric=METRIC, way="default", prune=True)
    assert 0.0 < trained(fixed(optimizer="adam")) < TARGET
