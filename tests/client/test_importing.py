"""`tuneup import`, and the same from Python."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

import tuneup
from tests.client.fake_service import FakeService
from tuneup.cli import app
from tuneup.errors import BadStudy

pytestmark = pytest.mark.usefixtures("url")
SPACE = {"lr": {"min": 1e-4, "max": 0.1}}


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="tuneup")


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text("method: bayes\nbase: &b {min: 1e-4, max: 0.1}\nparameters: {lr: *b}\n")
    return path


def test_the_definition_goes_to_standard_output_and_notes_beside_it(sweep: Path, service: FakeService) -> None:
    result = run("import", sweep, "--format", "wandb")
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout) == {"name": "imported", "space": SPACE}
    assert "source.program: is not carried over" in result.stderr
    sent = service.requests[-1]
    assert (sent.path, sent.body["format"], sent.body["create"]) == ("/v1/studies:import", "wandb", False)
    assert sent.body["source"]["parameters"] == SPACE


@pytest.mark.parametrize("name", ["study.yaml", "study.json"])
def test_it_is_written_as_the_ending_says(sweep: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    result = run("import", sweep, "--format", "wandb", "-o", output)
    assert (result.exit_code, result.stdout) == (0, "")
    read = json.loads if name.endswith(".json") else yaml.safe_load
    assert read(output.read_text()) == {"name": "imported", "space": SPACE}


def test_fields_may_be_given_and_the_study_created(sweep: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text("budget: {trials: 5}")
    result = run("import", sweep, "--format", "wandb", "--study", more, "--create")
    assert yaml.safe_load(result.stdout)["budget"] == {"trials": 5}
    assert "study study0 (imported) was created" in result.stderr


def test_what_is_refused_ends_with_2(sweep: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("method: grid")
    result = run("import", empty, "--format", "wandb")
    assert result.exit_code == 2
    assert "source.parameters: is required" in result.stderr
    assert run("import", sweep, "--format", "hyperopt").exit_code == 2
    assert run("import", tmp_path / "none.yaml", "--format", "wandb").exit_code == 2
    assert run("import", sweep, "--format", "wandb", "-o", sweep).exit_code == 2
    assert run("import", sweep, "--format", "wandb", "-o", tmp_path / "no" / "folder").exit_code == 1


def test_from_python(client: tuneup.Client) -> None:
    found = client.import_study({"parameters": SPACE}, "wandb", study={"name": "mine"})
    assert (found["definition"]["name"], found["study"]) == ("mine", None)
    with pytest.raises(BadStudy):
        client.import_study({"parameters": {}}, "wandb")
