"""A real Celery worker that is told to end gives back the trial it runs, however it got it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.ledger import Ledger, definition, opened
from workers.fleet import ROOT, worker_member
from workers.queue import Doorbell, make_app

LONG: dict[str, Any] = {
    "recipe": "classifier",
    "data": "digits",
    "network": {"kind": "mlp", "hidden": [32]},
    "epochs": 10_000,
}


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger; one kind of database will do here."""
    with opened(sqlite_url) as made:
        yield made


@pytest.fixture
def broker_url(tmp_path: Path) -> str:
    """Return the URL of a broker made of files."""
    return f"filesystem://{tmp_path / 'broker'}"


@pytest.fixture
def worker(ledger: Ledger, sqlite_url: str, broker_url: str) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Return what starts a worker that looks once and then waits for nudges."""
    del ledger
    started: list[subprocess.Popen[bytes]] = []
    member = worker_member("one", queue="cpu", environment={})
    ours = {"TUNEUP_DATABASE_URL": sqlite_url, "TUNEUP_BROKER_URL": broker_url, "TUNEUP_POLL_SECONDS": "1000"}

    def start() -> subprocess.Popen[bytes]:
        environment = {**os.environ, **member.environment, **ours}
        started.append(subprocess.Popen(member.command, cwd=ROOT, env=environment, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("nudged", "tell"),
    [
        pytest.param(True, os.killpg, id="nudged-group"),
        pytest.param(False, os.kill, id="polled-main"),
        pytest.param(True, os.kill, id="nudged-main", marks=pytest.mark.slow),
        pytest.param(False, os.killpg, id="polled-group", marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_ends_gives_back_its_trial(
    ledger: Ledger,
    broker_url: str,
    worker: Callable[[], subprocess.Popen[bytes]],
    nudged: bool,
    tell: Callable[[int, int], None],
) -> None:
    study = definition(trials=1, objective=LONG)
    if not nudged:
        ledger.create(study)
    process = worker()
    if nudged:
        _wait(lambda: ledger.rows("worker"))
        time.sleep(3)  # its first look finds nothing
        ledger.create(study)
        doorbell = Doorbell(make_app(broker_url))
        doorbell.nudge(["cpu"])
        doorbell.close(timeout=20)
    _wait(lambda: ledger.rows("measurement"))
    tell(process.pid, signal.SIGTERM)
    _wait(lambda: ledger.rows("trial")[0].state != "running")
    (trial,), (attempt,) = ledger.rows("trial"), ledger.rows("attempt")
    assert (trial.state, trial.reason, attempt.state) == ("queued", "released", "released")
    assert ledger.rows("lease") == []
    process.wait(timeout=20)


@pytest.mark.slow
def test_quitting_waits_for_nothing_and_leaves_nothing(
    ledger: Ledger, worker: Callable[[], subprocess.Popen[bytes]]
) -> None:
    ledger.create(definition(trials=1, objective=LONG))
    process = worker()
    _wait(lambda: ledger.rows("measurement"))
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2  # the child and its trainer
    process.send_signal(signal.SIGQUIT)
    process.wait(timeout=10)
    assert psutil.wait_procs(family, timeout=10)[1] == []
