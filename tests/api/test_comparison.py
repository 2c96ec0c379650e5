"""Methods side by side over HTTP."""

from xml.etree.ElementTree import fromstring

import pytest

from models.states import TrialState
from search.trials.dispatch import Result
from tests.api.stage import Stage, faults, problem, study


@pytest.fixture
def made(stage: Stage) -> str:
    """Return a study of two optimizers at two rates with three repetitions, run by hand."""
    space = {
        "optimizer": {"type": "categorical", "choices": ["sgd", "kfac"]},
        "lr": {"type": "float", "low": 0.01, "high": 0.1, "scale": "log", "levels": 2},
        "repeat": {"type": "int", "low": 1, "high": 3},
    }
    raw = study(
        "digits-mlp", name="methods", space=space, search={"strategy": "grid", "seed": 2}, budget={"trials": 12}
    )
    raw |= {"metrics": [{"name": "val_accuracy", "goal": "maximize"}], "pruning": None, "parallelism": None}
    raw["objective"] = {
        "recipe": "classifier",
        "data": "digits",
        "network": {"kind": "mlp", "hidden": [8]},
        "epochs": 2,
        "measured": {"test": 0.2, "target": {"metric": "val_accuracy", "value": 0.9}},
    }
    made: str = stage.create(raw)["id"]
    for claim in stage.worker.claim(queue="cpu", capacity=12):
        params, kfac = claim.params, claim.params["optimizer"] == "kfac"
        accuracy = 0.9 + 0.05 * kfac + 0.1 * params["lr"]
        values = {
            "val_accuracy": accuracy,
            "test_accuracy": accuracy - 0.01,
            "examples_per_second": 100.0 + params["repeat"] - 50 * kfac,
        }
        stage.worker.finish([Result(claim, TrialState.COMPLETED, values=values)])
    return made


def test_the_choices_stand_side_by_side_with_ratios_to_the_baseline(stage: Stage, made: str) -> None:
    found = stage.get(f"/studies/{made}/comparison", baseline="sgd")
    assert (found["by"], found["baseline"], found["metric"]["name"]) == ("optimizer", "sgd", "val_accuracy")
    kfac, sgd = found["data"]
    assert (kfac["choice"], kfac["params"], kfac["completed"]) == (
        "kfac",
        {"optimizer": "kfac", "lr": pytest.approx(0.1)},
        3,
    )
    assert kfac["values"]["examples_per_second"]["mean"] == pytest.approx(52)
    assert kfac["ratios"]["examples_per_second"]["mean"] == pytest.approx(52 / 102)
    assert kfac["values"]["examples_per_second"]["low"] < 52 < kfac["values"]["examples_per_second"]["high"]
    assert sgd["choice"] == "sgd"


def test_the_report_is_a_table_and_a_picture(stage: Stage, made: str) -> None:
    path = f"/v1/studies/{made}/comparison"
    table = stage.client.get(path, params={"format": "md"})
    assert table.headers["content-type"].startswith("text/markdown")
    lines = [line for line in table.text.splitlines() if line.startswith("|")]
    assert lines[0] == "| optimizer | runs | val_accuracy | test accuracy | examples/s |"
    assert lines[2].startswith("| kfac | 3/3 | 0.96 ")
    assert "(0.51x)" in lines[2]
    picture = stage.client.get(path, params={"format": "svg"})
    texts = [each.text for each in fromstring(picture.text).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - our own
    assert {"methods", "test accuracy", "examples/s", "kfac", "sgd"} <= set(texts)


def test_what_cannot_be_compared_is_said(stage: Stage, made: str) -> None:
    for given, path, words in (
        ({"by": "lr"}, "query.by", "the study has no choices of 'lr' to compare; valid: optimizer"),
        ({"baseline": "adam"}, "query.baseline", "'adam' is no choice of optimizer; valid: sgd, kfac"),
    ):
        refused = stage.client.get(f"/v1/studies/{made}/comparison", params=given)
        assert refused.status_code == 422
        assert faults(refused)[path] == words
    assert problem(stage.client.get("/v1/studies/zzzz/comparison"))["status"] == 404


def test_before_anything_finished_there_is_nothing_to_compare(stage: Stage) -> None:
    made = stage.create()["id"]
    assert stage.get(f"/studies/{made}/comparison")["data"] == []
