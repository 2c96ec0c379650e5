"""`tuneup serve`: the whole system on one machine, as a newcomer starts it."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import deployment
from tests.support.deployment import Deployment, celery_workers, descendants, embedded, wait_for
from tests.support.sources import ROOT

GRID: dict[str, Any] = {
    "name": "iris-grid",
    "objective": {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [8]}, "epochs": 3},
    "metrics": [{"name": "val_loss", "goal": "minimize"}],
    "space": {
        "optimizer": {"type": "categorical", "choices": ["sgd", "momentum"]},
        "lr": {"type": "float", "low": 0.001, "high": 1.0, "scale": "log", "levels": 4},
        "momentum": {
            "type": "float",
            "low": 0.5,
            "high": 0.9,
            "levels": [0.5, 0.9],
            "when": {"optimizer": ["momentum"]},
        },
        "batch_size": {"type": "categorical", "choices": [16, 32]},
    },
    "search": {"strategy": "grid", "seed": 3},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with embedded(tmp_path_factory.mktemp("serve"), workers=4) as running:
        yield running


def test_a_grid_of_24_points_with_4_workers_is_24_trials_each_point_once(served: Deployment) -> None:
    study = served.client.create_study(GRID).wait(timeout=180)
    trials = list(study.trials())
    assert study.state == "completed"
    assert study.progress == {"allocated": 24, "finished": 24, "running": 0, "budget": 24}
    assert sorted(trial["number"] for trial in trials) == list(range(24))
    points = {json.dumps(trial["params"], sort_keys=True) for trial in trials}
    assert len(points) == 24
    assert all(("momentum" in trial["params"]) == (trial["params"]["optimizer"] == "momentum") for trial in trials)


def test_the_command_line_tunes_a_study_and_writes_what_it_found(served: Deployment, tmp_path: Path) -> None:
    file, output, picture = tmp_path / "study.json", tmp_path / "tuned.json", tmp_path / "history.svg"
    file.write_text(json.dumps(GRID | {"name": "from the command line"}))
    ran = served.cli("run", str(file), "--json", "--timeout", "3m", "--output", str(output), "--picture", str(picture))
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert answer["study"]["state"] == "completed"
    tuned = json.loads(output.read_text())
    assert tuned["params"] == answer["best"]["params"]
    assert picture.read_text().startswith("<svg")
    shown = served.cli("best", answer["study"]["id"], "--json")
    assert json.loads(shown.stdout)["params"] == tuned["params"]


def test_a_bad_study_is_refused_with_every_fault(served: Deployment, tmp_path: Path) -> None:
    bad = {**GRID, "space": {"lr": {"type": "float", "low": 0, "high": -1, "scale": "log"}, "speed": {}}}
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(bad))
    ran = served.cli("run", str(file))
    assert ran.returncode == 2
    assert "space.lr" in ran.stderr
    assert "space.speed" in ran.stderr


def test_the_ci_example_runs_and_its_exit_code_decides(served: Deployment, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps(GRID | {"name": "from CI"}))
    ran = deployment.run_script(served, ROOT / "examples" / "ci" / "tune.sh", "study.json", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "tuned.json").read_text())["params"]


def test_a_killed_worker_is_started_again_and_its_trial_is_run_again(served: Deployment) -> None:
    slow = {**GRID, "name": "survivor", "objective": {**GRID["objective"], "data": "digits", "epochs": 600}}
    study = served.client.create_study(slow)
    wait_for(lambda: study.refresh().progress["running"] >= 4, seconds=60, what="four trials running")
    workers = celery_workers(served.process.pid)
    victim = workers[0]
    victim.send_signal(signal.SIGKILL)
    killed = time.monotonic()

    def again() -> bool:
        mains = celery_workers(served.process.pid)
        return len({main.pid for main in mains} - {victim.pid}) >= len(workers)

    wait_for(again, seconds=30, what="the worker started again")
    assert time.monotonic() - killed < 10
    study.wait(timeout=240)
    trials = list(study.trials())
    assert study.state == "completed"
    assert len(trials) == 24
    assert len({json.dumps(trial["params"], sort_keys=True) for trial in trials}) == 24


def test_sigterm_ends_every_process(tmp_path: Path) -> None:
    with embedded(tmp_path, workers=1) as running:
        wait_for(lambda: len(descendants(running.process.pid)) >= 3, seconds=60, what="broker, worker and trainer")
        family = descendants(running.process.pid)
        running.process.terminate()
        assert running.process.wait(30) == 0
        wait_for(lambda: not any(member.is_running() for member in family), seconds=5, what="all gone")


def test_kill_9_of_the_service_leaves_no_child(tmp_path: Path) -> None:
    with embedded(tmp_path, workers=1) as running:
        wait_for(lambda: len(descendants(running.process.pid)) >= 3, seconds=60, what="broker, worker and trainer")
        family = descendants(running.process.pid)
        running.process.kill()
        wait_for(lambda: not any(member.is_running() for member in family), seconds=10, what="all gone")
