"""Real workers and real trainers: commands as objectives, what ends them, and how a trial goes on after that."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.workers import registered_objectives
from search.errors import InvalidStudy
from search.studies.service import cancel_study
from tests.support.crew import SECRET, Start, alive, announce, attempts, crew, rows, settle, steps, trainer
from tests.support.deployment import embedded, wait_for
from tests.support.ledger import Ledger, definition
from tests.support.sources import ROOT
from tuneup import Study
from tuneup.errors import BadStudy

EXAMPLE = ROOT / "examples" / "command"
NETWORK = ROOT / "examples" / "network"
HEAD = "import json, os, signal, sys, time; told = json.loads(input())\n"
# What commands of these tests do, in Python.
SCRIPTS = {
    "fine": 'print(json.dumps({"step": 1, "values": {"loss": 0.5}}))',
    "hang": 'print(json.dumps({"step": 1, "values": {"loss": 0.5}}), flush=True); time.sleep(1000)',
    "crash": 'print("so it goes", file=sys.stderr); sys.exit(1)',
    "poison": 'os.kill(os.getpid(), signal.SIGKILL) if told["params"]["bad"] else None\n'
    'print(json.dumps({"step": 1, "values": {"loss": 0.5}}))',
    "silent": 'print(json.dumps({"step": 1, "values": {"other": 0.5}}))',
}
DIGITS: dict[str, Any] = {
    "objective": {
        "recipe": "classifier",
        "data": "digits",
        # Of the activations that are not compiled, whose trials are done before one looks.
        "network": {"kind": "mlp", "hidden": [32], "activation": "gelu"},
        "epochs": 60,
    },
    "space": {"lr": {"type": "float", "low": 0.01, "high": 0.1, "scale": "log"}},
    "report": "best",
}
COMPILED: dict[str, Any] = {
    **DIGITS,
    "objective": {**DIGITS["objective"], "network": {"kind": "mlp", "hidden": [32]}, "epochs": 3000},
}
POLYNOMIAL: dict[str, Any] = {
    "objective": {"name": "polynomial", "steps": 60, "options": {"steps": 60, "pause": 0.05}},
    "metrics": [{"name": "loss", "goal": "minimize"}],
    "space": {
        "rate": {"type": "float", "low": 0.001, "high": 0.01},
        "momentum": {"type": "float", "low": 0.0, "high": 0.9},
    },
    "report": "best",
}


def one(**parts: Any) -> Any:
    """Return a study of one trial; `parts` replaces or adds top-level fields."""
    return {**definition(trials=1), **parts}


def command(name: str, **more: Any) -> Any:
    """Return a study of one trial that runs the command of that name."""
    return one(
        objective={"name": name},
        metrics=[{"name": "loss", "goal": "minimize"}],
        **{"space": {"bad": {"type": "categorical", "choices": [False]}}, **more},
    )


def register(folder: Path) -> Path:
    """Write a tuneup.toml with the example's command and those of SCRIPTS."""
    tables = [f'[objectives.polynomial]\ncommand = ["{sys.executable}", "train.py"]\nfolder = "{EXAMPLE}"\n']
    for name, script in SCRIPTS.items():
        (folder / f"{name}.py").write_text(HEAD + script)
        tables.append(f'[objectives.{name}]\ncommand = ["{sys.executable}", "{name}.py"]\n')
    path = folder / "tuneup.toml"
    path.write_text("\n".join(tables))
    return path


def registered(folder: Path) -> AbstractContextManager[tuple[Ledger, Start]]:
    """Return a crew whose workers have those commands."""
    return crew(folder, TUNEUP_OBJECTIVES=str(register(folder)))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Ledger, Start]]:
    """Yield a ledger and what starts workers, for one test."""
    with registered(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, subprocess.Popen[bytes]]]:
    """Yield a ledger and its one worker, for tests that leave it alive."""
    with registered(tmp_path_factory.mktemp("shared")) as (ledger, start):
        yield ledger, announce(ledger, start, TUNEUP_CHECKPOINT_SECONDS="0.2")


Shared = tuple[Ledger, subprocess.Popen[bytes]]


@pytest.mark.parametrize("parts", [DIGITS, COMPILED, POLYNOMIAL], ids=["recipe", "compiled", "command"])
def test_a_trial_goes_on_with_another_worker_as_if_nothing_had_been(
    own: tuple[Ledger, Start], tmp_path: Path, parts: dict[str, Any]
) -> None:
    ledger, start = own
    first = announce(ledger, start, TUNEUP_CHECKPOINT_SECONDS="1000")
    study = ledger.create(one(**parts))
    wait_for(lambda: len(ledger.rows("measurement")) >= 11, seconds=60, what="eleven steps")
    first.send_signal(signal.SIGTERM)
    wait_for(lambda: ledger.trials(study)[0].state == "queued", seconds=30, what="given back")
    first.wait(30)
    (kept, *_) = reversed(ledger.rows("checkpoint"))
    assert not Path(kept.path).is_absolute()
    assert (tmp_path / "checkpoints" / kept.path).is_file()
    start()
    (trial,) = settle(ledger, study)
    (before, after) = attempts(ledger, study)
    assert (before.state, before.reason, after.state) == ("released", "released", "ended")
    assert steps(ledger, study, 2)[0] == kept.step + 1 == steps(ledger, study, 1)[-1] + 1
    again = ledger.create(one(**parts))
    (reference,) = settle(ledger, again)
    assert (trial.params, trial.values) == (reference.params, reference.values)
    wait_for(lambda: not list((tmp_path / "checkpoints").rglob("*.*")), seconds=10, what="checkpoints removed")


def test_a_killed_trainer_costs_no_more_than_the_last_seconds(shared: Shared) -> None:
    ledger, process = shared
    study = ledger.create(one(**DIGITS))
    wait_for(lambda: any(row.step > 2 for row in rows(ledger, "checkpoint", study)), seconds=60, what="a checkpoint")
    trainer(process).kill()
    (trial,) = settle(ledger, study)
    (before, after) = attempts(ledger, study)
    assert (before.state, before.reason, after.state) == ("lost", "poison", "ended")
    assert 3 < steps(ledger, study, 2)[0] <= steps(ledger, study, 1)[-1] + 1
    (reference,) = settle(ledger, ledger.create(one(**DIGITS)))
    assert (trial.params, trial.values) == (reference.params, reference.values)


def test_a_command_that_hangs_is_ended_and_has_one_more_try(shared: Shared) -> None:
    ledger, _ = shared
    study = ledger.create(command("hang", timeouts={"progress": 1}))
    (trial,) = settle(ledger, study)
    assert trial.reason == "timeout: no sign of progress for 1 s (timeouts.progress)"
    assert [row.reason for row in attempts(ledger, study)] == ["timeout", trial.reason]


def test_a_trial_that_takes_too_long_is_ended(shared: Shared) -> None:
    ledger, _ = shared
    study = ledger.create(command("hang", timeouts={"progress": None, "total": 1.5}))
    (trial,) = settle(ledger, study)
    assert (trial.state, trial.reason) == ("failed", "timeout: still running after 1.5 s (timeouts.total)")


def test_a_stopped_trainer_is_replaced(shared: Shared) -> None:
    ledger, process = shared
    study = ledger.create(one(timeouts={"progress": 10}, **DIGITS))
    wait_for(lambda: bool(rows(ledger, "measurement", study)), seconds=60, what="a measurement")
    frozen = trainer(process)
    frozen.suspend()
    (trial,) = settle(ledger, study)
    assert not alive(frozen)
    assert (trial.state, [row.reason for row in attempts(ledger, study)]) == ("completed", ["timeout", None])


def test_poison_has_three_tries_and_the_others_complete(shared: Shared) -> None:
    ledger, _ = shared
    space = {"bad": {"type": "categorical", "choices": [True, False]}, "n": {"type": "int", "low": 1, "high": 2}}
    poison = {"space": space, "search": {"strategy": "grid", "seed": 1}, "budget": {}}
    study = ledger.create(command("poison", **poison))
    trials = settle(ledger, study)
    assert len(trials) == 4
    for trial in trials:
        bad = trial.params["bad"]
        assert (trial.state, trial.attempt) == (("failed", 3) if bad else ("completed", 1))
        assert (trial.reason == "poison") is bad
    reasons = [row.reason for row in attempts(ledger, study) if row.state == "lost" and row.attempt < 3]
    assert reasons == ["poison"] * 4


@pytest.mark.parametrize(
    ("name", "reason", "error"),
    [
        ("crash", "user_error: the command exited with status 1: so it goes", "so it goes\n"),
        ("silent", "user_error: it completed without a value of 'loss', which is to be optimized", None),
    ],
)
def test_an_error_of_the_user_is_shown_and_not_repeated(
    shared: Shared, name: str, reason: str, error: str | None
) -> None:
    ledger, _ = shared
    study = ledger.create(command(name))
    (trial,) = settle(ledger, study)
    (attempt,) = attempts(ledger, study)
    assert (trial.state, trial.reason, attempt.error) == ("failed", reason, error)


def test_only_who_has_registered_an_objective_runs_it(own: tuple[Ledger, Start], tmp_path: Path) -> None:
    ledger, start = own
    other = tmp_path / "other.toml"
    other.write_text((tmp_path / "tuneup.toml").read_text().replace("[objectives.fine]", "[objectives.something]"))
    announce(ledger, start, TUNEUP_OBJECTIVES=str(other))
    with pytest.raises(InvalidStudy, match="no worker has registered 'fine'; known are crash, hang"):
        ledger.create(command("fine"))
    start()
    wait_for(lambda: ("fine", "cpu") in ledger.database.read(registered_objectives), seconds=60, what="fine announced")
    has = {row.id for row in ledger.rows("worker") if "fine" in row.objectives}
    study = ledger.create({**command("fine"), "budget": {"trials": 5}})
    trials = settle(ledger, study)
    assert [trial.state for trial in trials] == ["completed"] * 5
    assert {row.worker for row in attempts(ledger, study)} == has


def test_trainer_and_command_know_no_secret_and_end_when_the_study_is_cancelled(shared: Shared) -> None:
    ledger, process = shared
    study = ledger.create(command("hang"))
    wait_for(lambda: bool(rows(ledger, "measurement", study)), seconds=60, what="a measurement")
    family = [trainer(process), *trainer(process).children(recursive=True)]
    assert any("hang.py" in member.cmdline() for member in family)
    known = [Path(f"/proc/{member.pid}/environ").read_text() for member in family]
    assert len(known) >= 2
    for text in known:
        assert SECRET not in text
        assert "TUNEUP_DATABASE_URL" not in text
        assert "TUNEUP_BROKER_URL" not in text
    ledger.act(cancel_study, study)
    wait_for(lambda: ledger.trials(study)[0].state == "cancelled", seconds=30, what="the trial's end")
    wait_for(lambda: not any(alive(member) for member in family), seconds=10, what="trainer and command gone")


def ended_well(study: Study) -> None:
    """Some trials have completed, and none has failed; if one has, its reason is shown."""
    ends = {(trial["state"], trial["reason"]) for trial in study.trials()}
    assert "completed" in {state for state, _ in ends}
    assert [end for end in ends if end[0] not in ("completed", "pruned", "diverged")] == []


def test_the_example_is_tuned_by_a_newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEUP_OBJECTIVES", str(register(tmp_path)))
    raw = yaml.safe_load((EXAMPLE / "study.yaml").read_text())
    with embedded(tmp_path, workers=2) as service:

        def names() -> set[str]:
            with urllib.request.urlopen(f"{service.url}/v1/objectives") as reply:  # noqa: S310  our own server
                return {found["name"] for found in json.load(reply)["data"]}

        wait_for(lambda: "polynomial" in names(), seconds=60, what="the objective listed")
        with pytest.raises(BadStudy, match="no worker has registered 'nobody'"):
            service.client.create_study({**raw, "objective": {"name": "nobody"}})
        study = service.client.create_study(raw).wait(timeout=120)
        assert study.state == "completed"
        assert study.best()["values"]["loss"] < 0.1
        ended_well(study)


def test_a_network_of_users_is_tuned_by_a_newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEUP_OBJECTIVES", str(NETWORK / "tuneup.toml"))
    raw = yaml.safe_load((NETWORK / "study.yaml").read_text())
    with embedded(tmp_path, workers=2) as service:

        def networks() -> list[str]:
            with urllib.request.urlopen(f"{service.url}/v1/objectives") as reply:  # noqa: S310  our own server
                return [found["name"] for found in json.load(reply)["data"] if found["kind"] == "network"]

        wait_for(lambda: networks() == ["residual"], seconds=60, what="the network listed")
        nobodys = {**raw["objective"], "network": {"kind": "registered", "name": "nobody"}}
        with pytest.raises(BadStudy, match="no worker has registered the network 'nobody'; known are residual"):
            service.client.create_study({**raw, "objective": nobodys})
        study = service.client.create_study(raw).wait(timeout=120)
        assert study.state == "completed"
        assert study.best()["values"]["val_accuracy"] > 0.8
        ended_well(study)
        wrong = {**raw["objective"], "network": {**raw["objective"]["network"], "options": {"depth": 3}}}
        broken = service.client.create_study({**raw, "objective": wrong, "budget": {"trials": 1}}).wait(timeout=60)
        (trial,) = broken.trials()
        said = trial["reason"] or ""
        assert trial["state"] == "failed"
        assert said.startswith("user_error: ValueError: ")
        assert "nets.py:build: the call raised TypeError: build() got an unexpected keyword argument" in said
