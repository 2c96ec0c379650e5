"""What an objective may want to have measured."""

import copy
from typing import Any

import pytest

from search.definition.parse import EXAMPLE_STUDIES, parse_study
from search.errors import InvalidStudy


def study(measured: object) -> dict[str, Any]:
    raw = copy.deepcopy(EXAMPLE_STUDIES["digits-mlp"])
    raw["objective"]["measured"] = measured
    return raw


def test_a_share_for_the_test_and_a_target() -> None:
    found: Any = parse_study(study({"target": {"metric": "val_accuracy", "value": 0.9}})).objective
    assert (found.measured.test, found.measured.target.value, found.measured.target.goal) == (0.2, 0.9, "maximize")


@pytest.mark.parametrize(
    ("measured", "path", "message"),
    [
        ({"test": 1.5}, "measured.test", "must be below 1, got 1.5"),
        ({"test": 0}, "measured.test", "must be above 0, got 0"),
        ({"target": {"metric": "val_accuracy"}}, "measured.target.value", "is required"),
        ({"speed": 1}, "measured.speed", "there is no such field here; valid are test, target"),
        (
            {"target": {"metric": "val_loss", "value": 1.0, "at": 3}},
            "measured.target.at",
            "there is no such field here; valid are metric, value, goal",
        ),
        (True, "measured", "must be an object, got True"),
        (
            {"target": {"metric": "val_mae", "value": 1.0}},
            "measured.target.metric",
            "no epoch reports 'val_mae'; valid are train_loss, val_loss, val_accuracy, grad_norm, update_ratio",
        ),
    ],
)
def test_what_is_wrong_is_said_where_it_is(measured: object, path: str, message: str) -> None:
    with pytest.raises(InvalidStudy) as refused:
        parse_study(study(measured))
    assert [(fault.path, fault.message) for fault in refused.value.faults] == [(f"objective.{path}", message)]


def test_repetitions_are_points_of_a_grid() -> None:
    raw = study({}) | {"search": {"strategy": "grid"}, "pruning": None}
    raw.pop("budget", None)
    raw["space"] = {
        "optimizer": {"type": "categorical", "choices": ["sgd", "kfac"]},
        "repeat": {"type": "int", "low": 1, "high": 3},
    }
    assert parse_study(raw).space["repeat"]
