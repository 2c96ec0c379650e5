"""`tuneup importance`, `history` and `savings`, and the same from Python."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import tuneup
from tests.client.fake_service import ANALYSES, NOW, FakeService
from tuneup.cli import app

pytestmark = pytest.mark.usefixtures("url")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="tuneup")


@pytest.fixture
def created(study_file: Path, service: FakeService) -> str:
    """Return the id of a study that has completed."""
    assert run("run", study_file).exit_code == 0
    return next(iter(service.studies))


def test_importance_is_a_table(created: str, service: FakeService) -> None:
    result = run("importance", created, "--method", "fanova", "--metric", "val_loss")
    assert result.stdout.splitlines() == ["parameter\timportance\ttrials", "lr\t0.750\t200", "momentum\t0.250\t90"]
    assert "fanova of val_loss (minimize) over 200 of 300 trials" in result.stderr
    assert service.requests[-1].query == {"method": "fanova", "metric": "val_loss"}


def test_history_is_a_table(created: str, service: FakeService) -> None:
    result = run("history", created, "--points", 50)
    assert result.stdout.splitlines()[1:] == [f"1\tdiverged\t\t\t{NOW}", f"0\tcompleted\t0.125\t0.125\t{NOW}"]
    assert service.requests[-1].query == {"points": "50"}


def test_savings_are_said_in_words(created: str) -> None:
    lines = run("savings", created).stdout.splitlines()
    assert lines == [
        "trials       6 of 10 finished ones were pruned",
        "steps        80 run, 120 saved",
        "share saved  60 %",
        "device time  1m 30s used, 2m 05s saved",
    ]


@pytest.mark.parametrize("what", ANALYSES)
def test_json_is_what_the_service_said(created: str, what: str) -> None:
    assert json.loads(run(what, created, "--json").stdout) == {"study_id": created, **ANALYSES[what]}


def test_a_study_has_them_in_python(created: str, client: tuneup.Client, service: FakeService) -> None:
    study = client.get_study(created)
    assert study.importance(method="fanova")["data"][0]["parameter"] == "lr"
    assert study.history(points=7)["total"] == 2
    assert service.requests[-1].query == {"points": "7"}
    assert study.savings()["steps"]["saved"] == 120


def test_an_unknown_method_is_bad_usage(created: str) -> None:
    assert run("importance", created, "--method", "shap").exit_code == 2
