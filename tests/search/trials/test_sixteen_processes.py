"""A grid that sixteen processes take apart at once, three of which are killed with trials in their hands."""

import json
import os
import subprocess
import sys
from collections import Counter
from functools import partial

import pytest

from search.trials.dispatch import Dispatcher
from tests.support.deployment import wait_for
from tests.support.ledger import Ledger, definition, drain
from tests.support.sources import ROOT
from workers.reaper import Reaper

PROCESSES, KILLED = 16, 3
GRID = {
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "levels": 40},
    "batch_size": {"type": "int", "low": 1, "high": 15},
}


def start(ledger: Ledger, place: int) -> "subprocess.Popen[bytes]":
    """Start a worker; those that are to be killed hold their trials for longer, so that they surely have some then."""
    url = ledger.database.engine.url.render_as_string(hide_password=False)
    seconds = "1.0" if place < KILLED else "0.01"
    command = [sys.executable, "-m", "tests.support.grinder", url, f"w{place}", seconds]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "client")])
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths})


def holds(ledger: Ledger, worker: str) -> bool:
    return any(lease.worker == worker for lease in ledger.rows("lease"))


def reap(ledger: Ledger) -> None:
    """Let a lease's time pass at once."""
    now = [0.0]
    reaper = Reaper(ledger.database, lease_seconds=60, period_seconds=7, clock=ledger.clock, monotonic=lambda: now[0])
    for _ in range(12):
        reaper.sweep()
        now[0] += 7


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_grid_under_sixteen_processes_is_exactly_once(ledger: Ledger) -> None:
    study = ledger.create({**definition("grid", trials=None), "space": GRID})
    processes = [start(ledger, place) for place in range(PROCESSES)]
    try:
        for place in range(KILLED):
            wait_for(partial(holds, ledger, f"w{place}"), seconds=120, what=f"trials in the hands of w{place}")
            processes[place].kill()
        assert [process.wait(timeout=200) for process in processes[KILLED:]] == [0] * (PROCESSES - KILLED)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    reap(ledger)
    drain(Dispatcher(ledger.database, worker="last"))
    trials = ledger.trials(study)
    assert ledger.study(study).record.state == "completed"
    assert len(trials) == len({json.dumps(trial.params, sort_keys=True) for trial in trials}) == 600
    assert sorted(trial.grid_index or 0 for trial in trials) == list(range(600))
    assert Counter(trial.state for trial in trials) == {"completed": 600}
    assert max(trial.attempt for trial in trials) > 1
    assert len({row.worker for row in ledger.rows("attempt")}) > PROCESSES // 2
