import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.client.fake_service import FakeService, Mishap, problem
from tuneup.cli import app
from tuneup.study import Study

pytestmark = pytest.mark.usefixtures("url")
EVIL = "[bold red]x[/] :smile: \x1b[31m\x07"
UNSERVED = "no live worker serves queue gpu; start one with `tuneup worker --queue gpu`"
EVIL_SHOWN = "[bold red]x[/] :smile: \\x1b[31m\\x07"


def tuneup(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="tuneup")


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def created(study_file: Path, service: FakeService) -> str:
    """Return the id of a study that has completed."""
    assert tuneup("run", study_file).exit_code == 0
    return next(iter(service.studies))


def test_run_prints_the_best_and_ends_with_0(study_file: Path, service: FakeService) -> None:
    result = tuneup("run", study_file)
    assert result.exit_code == 0
    assert result.stdout.split() == ["trial", "0", "val_loss", "0.125", "lr", "0.01", "optimizer", "sgd"]
    study_id = next(iter(service.studies))
    assert result.stderr.splitlines()[0].startswith(f"study {study_id} (digits) on http://127.0.0.1:")
    assert "completed, 4/4 finished, 0 running, 4 allocated, best val_loss 0.125 (trial 0)" in result.stderr


def test_run_json_prints_one_object_and_nothing_else(study_file: Path) -> None:
    result = tuneup("run", study_file, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert set(answer) == {"study", "best"}
    assert answer["study"]["state"] == "completed"
    assert answer["best"]["params"] == {"lr": 0.01, "optimizer": "sgd"}
    assert "4/4 finished" in result.stderr


def test_run_writes_the_files_that_are_wanted(study_file: Path, service: FakeService, tmp_path: Path) -> None:
    output, picture = tmp_path / "tuned.json", tmp_path / "history.svg"
    output.write_text("old")
    assert tuneup("run", study_file, "--output", output, "--picture", picture).exit_code == 0
    assert json.loads(output.read_text()) == {
        "study": {"id": next(iter(service.studies)), "name": "digits", "state": "completed"},
        "trial": 0,
        "params": {"lr": 0.01, "optimizer": "sgd"},
        "values": {"val_loss": 0.125},
    }
    assert picture.read_bytes() == b"<svg/>"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.svg", "study.yaml", "tuned.json"]


@pytest.mark.parametrize(("content", "left"), [("name: [", True), ("name: x", False)])
def test_an_old_result_goes_before_the_study_is_created(
    study_file: Path, tmp_path: Path, content: str, *, left: bool
) -> None:
    output = tmp_path / "tuned.json"
    output.write_text("old")
    study_file.write_text(content)
    assert tuneup("run", study_file, "--output", output).exit_code == 2
    assert output.exists() == left


def test_the_study_file_is_never_taken_for_an_old_result(study_file: Path, service: FakeService) -> None:
    assert tuneup("run", study_file, "--output", study_file).exit_code == 2
    assert study_file.exists()
    assert not service.requests


def test_a_file_that_cannot_be_written_is_noticed_before_the_study(
    study_file: Path, service: FakeService, tmp_path: Path
) -> None:
    result = tuneup("run", study_file, "--output", tmp_path / "none" / "tuned.json")
    assert result.exit_code == 1
    assert "there is no folder" in result.stderr
    assert not service.requests


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_a_study_that_fails_ends_with_1(study_file: Path, service: FakeService, ending: str) -> None:
    service.ending = ending
    result = tuneup("run", study_file, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["study"]["state"] == ending
    assert f"{ending}" in result.stderr


def test_a_study_that_failed_says_why_a_trial_did(study_file: Path, service: FakeService) -> None:
    service.ending = "failed"
    result = tuneup("run", study_file)
    assert "trial 0 failed: user_error: no such data; `tuneup trials" in result.stderr


def test_a_bad_study_ends_with_2_and_names_each_fault(study_file: Path, service: FakeService) -> None:
    study_file.write_text("name: x")
    result = tuneup("run", study_file, "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("is missing") == 2
    assert result.stderr.splitlines()[-2:] == ["  objective: is missing", "  space: is missing"]
    assert not service.studies


@pytest.mark.parametrize("content", ["name: [", "a: .nan", "name: x\nname: y", "nothing"])
def test_a_definition_that_cannot_be_read_ends_with_2(study_file: Path, service: FakeService, content: str) -> None:
    study_file.write_text(content)
    result = tuneup("run", study_file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert not service.requests


def test_a_missing_definition_and_bad_usage_end_with_2(study_file: Path, tmp_path: Path) -> None:
    assert tuneup("run", tmp_path / "none.yaml").exit_code == 2
    assert tuneup("run").exit_code == 2
    result = tuneup("run", study_file, "--timeout", "soon")
    assert result.exit_code == 2
    assert "not a duration" in result.stderr


@pytest.mark.parametrize("step", [0, 1])
def test_time_spent_ends_with_5_and_leaves_the_study_running(
    study_file: Path, service: FakeService, tmp_path: Path, step: int
) -> None:
    service.step = step
    output = tmp_path / "tuned.json"
    result = tuneup("run", study_file, "--json", "--timeout", "0.9s", *(["--output", output] if step else []))
    study_id, study = next(iter(service.studies.items()))
    assert (result.exit_code, study["state"]) == (5, "running")
    assert f"goes on running; look again with `tuneup status {study_id}`" in result.stderr
    assert (json.loads(result.stdout)["best"] is None) == (step == 0)
    assert output.exists() == bool(step)


def test_a_result_file_without_a_result_is_an_error(study_file: Path, service: FakeService, tmp_path: Path) -> None:
    service.step = 0
    output = tmp_path / "tuned.json"
    result = tuneup("run", study_file, "--timeout", "0.1", "--output", output)
    assert "was not written: no trial" in result.stderr
    assert result.exit_code == 5
    assert not output.exists()


def test_ctrl_c_ends_with_130_and_leaves_the_study_running(
    study_file: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Study, "wait", interrupt)
    result = tuneup("run", study_file, "--json")
    study_id, study = next(iter(service.studies.items()))
    assert (result.exit_code, result.stdout, study["state"]) == (130, "", "running")
    assert f"study {study_id} goes on running; look again with `tuneup status {study_id}`" in result.stderr


def test_ctrl_c_elsewhere_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneup.client.Client.studies", interrupt)
    result = tuneup("studies")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("command", ["run", "status", "best", "trials", "cancel", "retry", "replay", "studies"])
def test_an_unreachable_service_ends_with_1(study_file: Path, command: str) -> None:
    subject = {"run": [study_file], "studies": []}.get(command, ["some-id"])
    result = tuneup(command, *subject, "--url", "http://127.0.0.1:9")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: no answer from http://127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.output


def test_a_key_that_is_not_accepted_ends_with_1(study_file: Path, service: FakeService) -> None:
    service.api_key = "secret"
    result = tuneup("run", study_file, "--api-key", "wrong")
    assert result.exit_code == 1
    assert "Unauthorized" in result.stderr
    assert "wrong" not in result.output
    assert tuneup("run", study_file, "--api-key", "secret").exit_code == 0


def test_a_picture_that_is_refused_leaves_the_result(study_file: Path, service: FakeService, tmp_path: Path) -> None:
    original = service.answer
    service.answer = lambda request: (  # type: ignore[method-assign]
        problem(500, "No picture") if request.path.endswith(".svg") else original(request)
    )
    output = tmp_path / "tuned.json"
    result = tuneup("run", study_file, "--json", "--output", output, "--picture", tmp_path / "history.svg")
    assert result.exit_code == 1
    assert "No picture" in result.stderr
    assert json.loads(result.stdout)["best"]
    assert output.exists()


def test_status_best_and_trials(created: str) -> None:
    shown = tuneup("status", created)
    assert re.search(r"^state +completed$", shown.stdout, re.MULTILINE)
    assert re.search(r"^queue +cpu$", shown.stdout, re.MULTILINE)
    assert json.loads(tuneup("status", created, "--json").stdout)["id"] == created
    assert "val_loss   0.125" in tuneup("best", created).stdout
    assert json.loads(tuneup("best", created, "--json").stdout)["params"]["optimizer"] == "sgd"
    rows = tuneup("trials", created).stdout.splitlines()
    assert rows[0].split("\t") == ["number", "state", "values", "params", "reason"]
    assert rows[1].split("\t") == ["0", "completed", "val_loss=0.125", "lr=0.01 optimizer=sgd", ""]
    assert len(rows) == 5
    assert len(tuneup("trials", created, "--limit", "2").stdout.splitlines()) == 3
    pruned = json.loads(tuneup("trials", created, "--state", "pruned", "--json").stdout)
    assert [trial["number"] for trial in pruned["data"]] == [1, 3]
    assert tuneup("trials", created, "--state", "dreaming").exit_code == 2


def test_replay_of_a_trial_and_of_a_study(created: str) -> None:
    one = tuneup("replay", f"{created}-0", "--json")
    assert one.exit_code == 0
    assert [(each["id"], each["matches"]) for each in json.loads(one.stdout)["data"]] == [(f"{created}-0", True)]
    given = tuneup("replay", f"{created}-4")
    assert given.exit_code == 0
    assert "its point was given (queued)" in given.stdout
    whole = tuneup("replay", created)
    assert whole.exit_code == 1
    lines = [line.split("\t") for line in whole.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        ["trial", "matches"],
        *([f"{created}-{number}", "no" if number == 3 else "yes"] for number in range(4)),
    ]
    assert lines[4][2:] == ["lr=0.01 optimizer=sgd", "lr=0.5 optimizer=sgd"]
    assert "1 of 4 do not follow from what is recorded" in whole.stderr


def test_status_shows_the_time_elapsed_and_the_limit(created: str, service: FakeService) -> None:
    before = tuneup("status", created).stdout
    assert "elapsed" not in before
    assert "time limit" not in before
    times = {"started_at": "2025-01-01T00:00:00Z", "finished_at": "2025-01-01T00:01:01.5Z"}
    service.studies[created].update(times, seconds=600.0)
    ended = tuneup("status", created).stdout
    assert re.search(r"^elapsed +1m 02s$", ended, re.MULTILINE)
    assert re.search(r"^time limit +10m 00s$", ended, re.MULTILINE)
    started = (datetime.now(UTC) - timedelta(hours=2, seconds=30)).isoformat()
    service.studies[created].update(started_at=started, finished_at=None)
    assert re.search(r"^elapsed +2h 00m$", tuneup("status", created).stdout, re.MULTILINE)


@pytest.fixture
def unserved_study(
    definition: dict[str, Any], study_file: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a study file for a queue that no worker serves; it never gets anywhere."""
    monkeypatch.setattr("tuneup.queues.IDLE_SECONDS", 0.0)
    definition["objective"]["device"] = "gpu"
    study_file.write_text(json.dumps(definition))
    service.step = 0
    return study_file


@pytest.mark.parametrize("terminal", [False, True])
def test_a_queue_without_workers_is_named_once(
    unserved_study: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
    ran = tuneup("run", unserved_study, "--json", "--timeout", "1.2s")
    assert ran.stderr.count(UNSERVED) == 1
    assert len([request for request in service.requests if request.path == "/v1/workers"]) == 1
    assert json.loads(ran.stdout)
    study_id = next(iter(service.studies))
    assert UNSERVED in tuneup("status", study_id).stderr
    service.queues.append("gpu")
    assert tuneup("status", study_id).stderr == ""
    service.queues.clear()
    service.studies[study_id]["state"] = "paused"
    assert tuneup("status", study_id).stderr == ""


def test_a_run_goes_on_where_the_workers_cannot_be_listed(unserved_study: Path, service: FakeService) -> None:
    original = service.answer
    service.answer = lambda request: (  # type: ignore[method-assign]
        problem(404, "No workers") if request.path.endswith("/workers") else original(request)
    )
    ran = tuneup("run", unserved_study, "--timeout", "0.2s")
    assert (ran.exit_code, "worker" in ran.stderr) == (5, False)


def test_studies_and_cancel(created: str, service: FakeService, study_file: Path) -> None:
    service.step = 0
    tuneup("run", study_file, "--timeout", "0.1")
    assert [row.split("\t")[2] for row in tuneup("studies").stdout.splitlines()] == ["state", "completed", "running"]
    running = [*service.studies][1]
    result = tuneup("cancel", running)
    assert (result.exit_code, result.stdout) == (0, "")
    assert service.studies[running]["state"] == "cancelled"
    refused = tuneup("cancel", created)
    assert refused.exit_code == 1
    assert "is completed" in refused.stderr


@pytest.mark.parametrize("command", ["status", "best", "trials", "cancel"])
def test_an_unknown_study_ends_with_1(command: str) -> None:
    result = tuneup(command, "nothing")
    assert result.exit_code == 1
    assert "there is no study nothing" in result.stderr


@pytest.mark.parametrize("terminal", [False, True])
def test_names_reach_the_terminal_as_text(
    definition: dict[str, Any], tmp_path: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
    monkeypatch.setenv("COLUMNS", "200")
    study_file = tmp_path / "study.json"
    study_file.write_text(json.dumps({**definition, "name": EVIL}))
    ran = tuneup("run", study_file)
    listed = tuneup("studies")
    shown = tuneup("status", next(iter(service.studies)))
    for text in (ran.stderr, listed.stdout, shown.stdout):
        assert EVIL_SHOWN in text
        assert "\x07" not in text
        assert "\x1b[31m" not in text
    if terminal:
        assert "━" in ran.stderr


def test_a_fault_and_a_reason_reach_the_terminal_as_text(study_file: Path, service: FakeService) -> None:
    service.mishaps.append(Mishap(problem(422, EVIL, f"a {EVIL}", errors=[{"path": EVIL, "message": EVIL}])))
    result = tuneup("run", study_file)
    assert result.stderr.count(EVIL_SHOWN) == 4
    assert "\x1b" not in result.stderr


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replace the start of a server process by a list of the command lines."""
    lines: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, line: lines.append(line[1:]))
    return lines


def installed(monkeypatch: pytest.MonkeyPatch, found: Callable[[str], bool]) -> None:
    monkeypatch.setattr("tuneup.server.find_spec", lambda name: object() if found(name) else None)


def everything(_: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("serve", ["workers.embedded"]),
        ("serve --port 1 --data d --workers 2", ["workers.embedded", "--port", "1", "--data", "d", "--workers", "2"]),
        ("api --host 127.0.0.1 --port 9", ["api", "--host", "127.0.0.1", "--port", "9"]),
        ("worker --queue gpu --gpus 0,1", ["workers", "--queue", "gpu", "--gpus", "0,1"]),
        ("worker --workers 3", ["workers", "--workers", "3"]),
        ("migrate", ["migrations"]),
    ],
)
def test_server_commands_become_the_server(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch, words: str, line: list[str]
) -> None:
    installed(monkeypatch, everything)
    assert tuneup(*words.split()).exit_code == 0
    assert started == [["-P", "-m", *line]]


@pytest.mark.parametrize("command", ["serve", "api", "worker", "migrate"])
def test_without_the_server_its_commands_say_what_is_missing(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    installed(monkeypatch, lambda name: name in {"celery", "fastapi", "torch"})
    bare = tuneup(command)
    assert bare.exit_code == 1
    assert re.fullmatch(rf"error: `tuneup {command}` needs the server.*make setup.*\n", bare.stderr)
    installed(monkeypatch, lambda name: name != "sqlalchemy")
    partial = tuneup(command)
    assert partial.exit_code == 1
    assert re.fullmatch(
        rf"error: `tuneup {command}` needs sqlalchemy: .*`pip install --editable '\.\[\w+\]'`\n", partial.stderr
    )
    assert not started


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])  # noqa: S104
def test_the_api_is_not_opened_to_others_without_a_key(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    installed(monkeypatch, everything)
    refused = tuneup("api", "--host", host)
    assert (refused.exit_code, started) == (1, [])
    assert "TUNEUP_API_KEY" in refused.stderr
    monkeypatch.setenv("TUNEUP_API_KEY", "secret")
    assert tuneup("api", "--host", host).exit_code == 0
    assert started == [["-P", "-m", "api", "--host", host]]


@pytest.mark.parametrize(
    ("command", "defaults"),
    [
        ("serve", ["8000", ".tuneup", "number of cores"]),
        ("api", ["127.0.0.1", "8000"]),
        ("worker", ["cpu", "1", "all"]),
    ],
)
def test_help_shows_the_defaults(monkeypatch: pytest.MonkeyPatch, command: str, defaults: list[str]) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 200)
    assert re.findall(r"\[default: \((.*?)\)\]", tuneup(command, "--help").stdout) == defaults


def test_help_and_version() -> None:
    assert "Exit codes" in tuneup("--help").stdout
    assert re.fullmatch(r"tuneup \d+\.\d+\.\d+\n", tuneup("--version").stdout)
