"""Studies that optimize several metrics, from the SDK and the command line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

import tuneup
from tests.client.fake_service import FakeService
from tuneup.cli import app

pytestmark = pytest.mark.usefixtures("url")
METRICS = [
    {"name": "val_loss", "goal": "minimize"},
    {"name": "size", "goal": "minimize"},
    {"name": "latency", "goal": "minimize", "role": "constraint", "threshold": 1.0},
]


def command(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="tuneup")


@pytest.fixture
def several(definition: Mapping[str, Any], tmp_path: Path) -> Path:
    """Return the file of a study with two metrics to optimize."""
    path = tmp_path / "several.yaml"
    path.write_text(yaml.safe_dump({**definition, "metrics": METRICS}))
    return path


def test_pareto_in_the_sdk(client: tuneup.Client, several: Path, service: FakeService) -> None:
    study = client.create_study(several).wait(poll=0)
    found = study.pareto()
    assert [trial["number"] for trial in found["data"]] == [0]
    assert "reference" not in service.of("GET")[-1].query
    study.pareto(reference={"val_loss": 1.0, "size": 1e-9})
    assert service.of("GET")[-1].asked == "reference=val_loss%3D1.0&reference=size%3D1e-09"


def test_pareto_on_the_command_line(several: Path, service: FakeService) -> None:
    assert command("run", several).exit_code == 0
    study_id = next(iter(service.studies))
    shown = command("pareto", study_id, "--reference", "val_loss=1", "--reference", "size=2.5")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.splitlines() == ["number\tval_loss\tsize\tparams", "0\t0.125\t\tlr=0.01 optimizer=sgd"]
    assert "hypervolume 0.75 up to val_loss=1 size=1" in shown.stderr
    assert service.of("GET")[-1].asked == "reference=val_loss%3D1.0&reference=size%3D2.5"
    assert json.loads(command("pareto", study_id, "--json").stdout)["hypervolume"] == 0.75


@pytest.mark.parametrize("bad", ["val_loss", "val_loss=", "val_loss=low"])
def test_a_bad_reference_is_bad_usage(bad: str) -> None:
    result = command("pareto", "study", "--reference", bad)
    assert result.exit_code == 2
    assert "METRIC=VALUE" in result.stderr


def test_run_hands_over_the_front(several: Path, service: FakeService, tmp_path: Path) -> None:
    output = tmp_path / "tuned.json"
    result = command("run", several, "--output", output)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "number\tval_loss\tsize\tparams"
    study_id = next(iter(service.studies))
    assert f"best trade-offs of val_loss, size by `tuneup pareto {study_id}`" in result.stderr
    front = [{"trial": 0, "params": {"lr": 0.01, "optimizer": "sgd"}, "values": {"val_loss": 0.125}}]
    assert json.loads(output.read_text())["front"] == front
    answer = json.loads(command("run", several, "--json").stdout)
    assert answer["best"] is None
    assert answer["pareto"]["hypervolume"] == 0.75


def test_run_writes_no_empty_front(several: Path, service: FakeService, tmp_path: Path) -> None:
    service.step, output = 0, tmp_path / "tuned.json"
    result = command("run", several, "--output", output, "--timeout", "0.1s")
    assert result.exit_code == 5
    assert "was not written" in result.stderr
    assert not output.exists()


def test_status_and_list_of_several_metrics(several: Path, service: FakeService) -> None:
    command("run", several)
    study_id = next(iter(service.studies))
    assert "best trade-offs of val_loss, size" in command("status", study_id).stdout
    assert command("studies").stdout.splitlines()[1].split("\t")[4] == ""
