"""What a client gives a study besides its definition, and the verdict it reads."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import tuneup
from tests.client.fake_service import Answer, FakeService, Mishap, problem
from tuneup.cli import app
from tuneup.errors import ApiError, Conflict

FOUND: dict[str, Any] = {
    "verdict": "improved",
    "reason": "the difference -0.1 is more than chance: its interval [-0.2, -0.05] excludes 0",
    "metric": "val_loss",
    "goal": "minimize",
    "difference": -0.1,
    "interval": [-0.2, -0.05],
    "confidence": 0.95,
    "replicates": 3,
    "winner": {"trial": 4, "params": {"lr": 0.1}, "values": [0.1] * 3, "mean": 0.1, "diverged": 0, "missing": 0},
    "baseline": {"trial": 0, "params": {"lr": 0.5}, "values": [0.2] * 3, "mean": 0.2, "diverged": 0, "missing": 0},
    "finalists": [],
}
NOTHING = {**FOUND, "verdict": "not distinguishable", "difference": None, "interval": None, "winner": None}


@pytest.fixture
def study(client: tuneup.Client, definition: dict[str, Any]) -> tuneup.Study:
    return client.create_study(definition)


def _tuneup(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="tuneup")


def _next(service: FakeService, study: tuneup.Study, answer: Answer) -> None:
    """Answer the command's look at the study, and then what it asks for."""
    service.mishaps.extend([Mishap(Answer(200, study.data)), Mishap(answer)])


@pytest.mark.parametrize(
    ("found", "code"),
    [(FOUND, 0), (NOTHING, 3), ({**FOUND, "verdict": "worse"}, 4), ({**FOUND, "verdict": "of another version"}, 1)],
)
def test_the_exit_code_is_the_answer(service: FakeService, study: tuneup.Study, found: Any, code: int) -> None:
    _next(service, study, Answer(200, found))
    result = _tuneup("verdict", study.id)
    assert result.exit_code == code
    assert result.stdout.splitlines()[0].split(maxsplit=1) == ["verdict", found["verdict"]]
    _next(service, study, Answer(200, found))
    assert json.loads(_tuneup("verdict", study.id, "--json").stdout) == found


def test_no_verdict_yet_is_an_error(service: FakeService, study: tuneup.Study) -> None:
    _next(service, study, problem(409, "Conflict", "the search goes on: 3 of 9 trials have finished"))
    result = _tuneup("verdict", study.id)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the search goes on" in result.stderr
    service.mishaps.append(Mishap(problem(409, "Conflict")))
    with pytest.raises(Conflict):
        study.verdict()


def test_points_are_sent_with_a_key(service: FakeService, study: tuneup.Study) -> None:
    service.mishaps.append(Mishap(Answer(201, {"data": [{"id": "x-0"}]})))
    assert [trial["id"] for trial in study.enqueue({"lr": 0.1}, {"lr": 0.2})] == ["x-0"]
    sent = service.of("POST")[-1]
    assert sent.path == f"/v1/studies/{study.id}/trials"
    assert sent.body == {"trials": [{"params": {"lr": 0.1}}, {"params": {"lr": 0.2}}]}
    assert sent.headers["idempotency-key"]


def test_points_from_a_file(service: FakeService, study: tuneup.Study, tmp_path: Path) -> None:
    path = tmp_path / "points.yaml"
    path.write_text("trials:\n- params: {lr: 1e-2}\n  values: {val_loss: 0.5}\n")
    _next(service, study, Answer(201, {"data": [{"id": "x-0", "state": "completed"}]}))
    result = _tuneup("enqueue", study.id, path)
    assert (result.exit_code, result.stderr) == (0, "trial x-0 is completed\n")
    assert service.of("POST")[-1].body == {"trials": [{"params": {"lr": 0.01}, "values": {"val_loss": 0.5}}]}


def test_refused_points_are_named(service: FakeService, study: tuneup.Study) -> None:
    errors = [{"path": "trials[0].params.lr", "message": "7 is not a value it can take"}]
    service.mishaps.append(Mishap(problem(422, "Not acceptable", errors=errors)))
    with pytest.raises(ApiError, match=r"trials\[0\]\.params\.lr"):
        study.enqueue({"lr": 7})


def test_an_earlier_answer_is_said(service: FakeService, study_file: Path, study: tuneup.Study) -> None:
    service.mishaps.append(Mishap(Answer(200, {**study.data, "reused": True})))
    assert "answered before: study" in _tuneup("run", study_file).stderr
