"""A study that asks what the curvature of its trials is good for: found by real workers, and kept as any other value is."""

import json
import math
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from search.definition.objectives import CLASSIFIER
from tests.support.deployment import Deployment, embedded
from tuneup.errors import BadStudy

EPOCHS = 4
USES = [use.name for use in CLASSIFIER.curvature]
STUDY: dict[str, Any] = {
    "name": "curvature",
    "objective": {
        "recipe": "classifier",
        "data": "wine",
        "network": {"kind": "mlp", "hidden": [8]},
        "epochs": EPOCHS,
        "curvature": USES,
    },
    "metrics": [
        {"name": "laplace_nll", "goal": "minimize"},
        {"name": "ewc_kept", "goal": "maximize", "role": "constraint", "threshold": 0.05},
        {"name": "pruned_accuracy", "goal": "maximize", "role": "store"},
    ],
    "space": {
        "optimizer": {"type": "categorical", "choices": ["momentum", "adam"]},
        "lr": {"type": "float", "low": 0.01, "high": 0.05, "scale": "log"},
    },
    "search": {"strategy": "random", "seed": 1},
    "budget": {"trials": 6},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with embedded(tmp_path_factory.mktemp("serve"), workers=1) as running:
        yield running


@pytest.mark.parametrize("execution", ["population", "single"])
def test_trials_of_a_study_have_its_values(served: Deployment, execution: str) -> None:
    study = served.client.create_study(STUDY | {"execution": execution}).wait(timeout=180)
    assert study.state == "completed"
    trials = list(study.trials())
    assert [trial["state"] for trial in trials] == ["completed"] * 6
    found: dict[str, dict[str, float]] = {trial["id"]: trial["values"] or {} for trial in trials}
    for trial, values in found.items():
        assert set(CLASSIFIER.late) <= set(values)
        assert all(math.isfinite(value) for value in values.values())
        with urllib.request.urlopen(f"{served.url}/v1/trials/{trial}/measurements") as reply:  # noqa: S310  ours
            measured = json.load(reply)["data"]
        assert [bool(set(CLASSIFIER.late) & set(each["values"])) for each in measured] == [False] * 3 + [True]
    assert study.best()["trial"]["id"] == min(found, key=lambda trial: found[trial]["laplace_nll"])
    assert all(trial["violation"] == 0 for trial in trials)


def test_a_use_that_there_is_not_is_refused(served: Deployment) -> None:
    wrong = {**STUDY, "objective": {**STUDY["objective"], "curvature": ["sharpness"]}}
    with pytest.raises(BadStudy, match=r"objective\.curvature\[0\]") as refused:
        served.client.create_study(wrong)
    assert "valid are laplace" in str(refused.value)
