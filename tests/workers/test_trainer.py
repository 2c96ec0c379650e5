"""The supervisor's end of a trainer: what it is given, and how its end is told."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.crew import alive
from tests.support.deployment import wait_for
from workers.trainer import COMMANDS, MOST_SHARED, MOST_TRIALS, Trainer, TrainerDied, environment

SECRETS = {
    "TUNEUP_DATABASE_URL": "postgresql://u:hunter2@db/x",
    "TUNEUP_BROKER_URL": "redis://:hunter2@broker/0",
    "TUNEUP_API_KEY": "hunter2",
    "PGPASSWORD": "hunter2",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
}


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trainer]:
    """Start a trainer from an environment full of secrets."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    made = Trainer()
    yield made
    made.kill()


def _listen(trainer: Trainer) -> None:
    while True:
        trainer.receive(timeout=5)


def test_the_environment_is_a_short_list() -> None:
    ours = {"PATH": "/bin", "HOME": "/nowhere", "CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    given = environment({**SECRETS, **ours})
    assert set(given) & set(SECRETS) == set()
    assert {name: given[name] for name in ours} == ours
    assert given["OMP_NUM_THREADS"] == "1"
    assert environment({}, threads=3)["OMP_NUM_THREADS"] == "3"


def test_the_process_knows_no_secret(trainer: Trainer) -> None:
    assert "hunter2" not in Path(f"/proc/{trainer.pid}/environ").read_text()
    assert os.getsid(trainer.pid) == trainer.pid != os.getsid(0)


def test_its_imports_are_not_waited_for_by_one_who_stops(trainer: Trainer) -> None:
    began = time.monotonic()
    assert not trainer.wait_ready(give_up=lambda: time.monotonic() > began + 0.1)
    assert time.monotonic() - began < 20


def test_a_killed_trainer_died(trainer: Trainer) -> None:
    assert trainer.alive
    os.kill(trainer.pid, signal.SIGKILL)
    with pytest.raises(TrainerDied, match="killed by signal SIGKILL"):
        _listen(trainer)
    assert not trainer.alive
    with pytest.raises(TrainerDied, match="SIGKILL"):
        trainer.send({"type": "stop", "trial": "t", "reason": "x"})


def test_a_trainer_that_exits_died(trainer: Trainer) -> None:
    trainer.send({"type": "start"})  # no trial: it cannot understand that
    with pytest.raises(TrainerDied, match="exited with status"):
        _listen(trainer)


def test_kill_ends_the_process_at_once(trainer: Trainer) -> None:
    trainer.kill()
    assert not psutil.pid_exists(trainer.pid)


def test_kill_ends_what_a_command_started_in_a_session_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import json, subprocess, sys, time\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "child = subprocess.Popen(sleep, start_new_session=True)\n"
        "print(json.dumps({'step': child.pid, 'values': {'loss': 1.0}}), flush=True)\n"
        "time.sleep(600)\n"
    )
    trainer = Trainer(COMMANDS)
    try:
        assert trainer.wait_ready(give_up=lambda: False)
        goal = {"command": [sys.executable, "train.py"], "folder": str(tmp_path)}
        trainer.send({"type": "start", "trial": "a-1", "objective": goal, "params": {}, "seed": 1})
        (said,) = trainer.receive(timeout=60)
        child = psutil.Process(said["step"])
    finally:
        trainer.kill()
    wait_for(lambda: not alive(child), seconds=60, what="the child's end")


def test_nothing_said_is_no_death(trainer: Trainer) -> None:
    assert trainer.receive(timeout=0.01) == []


def test_it_wears_out(trainer: Trainer) -> None:
    assert not trainer.worn
    trainer.trials = MOST_TRIALS
    assert trainer.worn


def test_trials_that_share_it_wear_it_less(trainer: Trainer) -> None:
    trainer.shared = MOST_SHARED // 2
    trainer.trials = MOST_TRIALS // 2 - 1
    assert not trainer.worn
    trainer.trials += 1
    assert trainer.worn


def test_all_that_was_said_is_heard_at_once(trainer: Trainer) -> None:
    """Whatever the pieces it arrives in: a line that is not whole yet waits for its rest."""
    ours, theirs = socket.socketpair()
    trainer._socket.close()
    trainer._socket = ours
    with theirs:
        theirs.sendall(b'{"type":"alive","trial":"a"}\n{"type":"alive","trial":"b"}\n{"type":"al')
        assert [said["trial"] for said in trainer.receive(timeout=5)] == ["a", "b"]
        assert trainer.receive(timeout=0.01) == []
        theirs.sendall(b'ive","trial":"c"}\n')
        assert [said["trial"] for said in trainer.receive(timeout=5)] == ["c"]
    with pytest.raises(TrainerDied):
        trainer.receive(timeout=5)
