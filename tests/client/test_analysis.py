"""`tuneup importance`, `history`, `savings` and `comparison`, and the same from Python."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import tuneup
from tests.client.fake_service import ANALYSES, NOW, Answer, FakeService
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


def test_a_comparison_is_a_table(created: str, service: FakeService) -> None:
    result = run("comparison", created, "--by", "optimizer", "--baseline", "sgd")
    assert result.stdout.splitlines() == [
        "optimizer\truns\tval_loss\tpeak_memory",
        "kfac\t3/3\t0.25 ± 0.12\t4 ± 0.5 (2x)",
        "sgd\t1/3\t0.5\t",
    ]
    assert "each optimizer at its best by val_loss (minimize), ratios to sgd" in result.stderr
    assert service.requests[-1].query == {"by": "optimizer", "baseline": "sgd"}


@pytest.mark.parametrize(("ending", "kind"), [("md", "text/markdown"), ("svg", "image/svg+xml"), ("PNG", "image/png")])
def test_a_comparison_is_written_as_its_ending_says(
    created: str, service: FakeService, tmp_path: Path, ending: str, kind: str
) -> None:
    found = service.answer

    def answer(request: Any) -> Answer:
        return Answer(200, "a file", kind) if request.path.endswith("/comparison") else found(request)

    service.answer = answer  # type: ignore[method-assign]
    output = tmp_path / f"methods.{ending}"
    result = run("comparison", created, "--output", output)
    assert result.exit_code == 0, result.stderr
    assert output.read_text() == "a file"
    assert service.requests[-1].query == {"format": ending.lower()}
    assert f"wrote {output}" in result.stderr.replace("\n", "")


def test_bad_usage_of_a_comparison(created: str, tmp_path: Path) -> None:
    unknown = run("comparison", created, "--output", tmp_path / "methods.pdf")
    assert unknown.exit_code == 2
    assert "end its name in .md, .svg, .png" in " ".join(unknown.stderr.replace("│", " ").split())
    assert run("comparison", created, "--json", "--output", tmp_path / "methods.md").exit_code == 2
    assert not list(tmp_path.glob("methods*"))


@pytest.mark.parametrize("what", ANALYSES)
def test_json_is_what_the_service_said(created: str, what: str) -> None:
    assert json.loads(run(what, created, "--json").stdout) == {"study_id": created, **ANALYSES[what]}


def test_a_study_has_them_in_python(created: str, client: tuneup.Client, service: FakeService) -> None:
    study = client.get_study(created)
    assert study.importance(method="fanova")["data"][0]["parameter"] == "lr"
    assert study.history(points=7)["total"] == 2
    assert service.requests[-1].query == {"points": "7"}
    assert study.savings()["steps"]["saved"] == 120
    assert study.comparison(by="optimizer")["data"][1]["completed"] == 1
    assert service.requests[-1].query == {"by": "optimizer"}


def test_an_unknown_method_is_bad_usage(created: str) -> None:
    assert run("importance", created, "--method", "shap").exit_code == 2
