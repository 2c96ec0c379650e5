"""Workers as operators start them, on a ledger that the test can read, and which of their processes is the trainer."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from models.ids import read_study
from models.workers import registered_objectives
from tests.support.deployment import descendants, wait_for
from tests.support.ledger import Ledger, opened
from tests.support.sources import ROOT
from workers.fleet import worker_member

SECRET = "hunter2"  # noqa: S105  nobody's
ENDED = ("completed", "failed", "cancelled")

Start = Callable[..., subprocess.Popen[bytes]]


@contextlib.contextmanager
def crew(folder: Path, **settings: str) -> Iterator[tuple[Ledger, Start]]:
    """Yield an empty ledger (one kind of database will do here), and what starts a worker on it with more settings."""
    started: list[subprocess.Popen[bytes]] = []
    url = f"sqlite:///{folder / 'tuneup.db'}"
    ours = {
        "TUNEUP_DATABASE_URL": url,
        "TUNEUP_BROKER_URL": f"filesystem://{folder / 'broker'}",
        "TUNEUP_POLL_SECONDS": "1",
        "TUNEUP_HEARTBEAT_SECONDS": "0.5",
        "TUNEUP_LEASE_SECONDS": "5",
        "TUNEUP_CHECKPOINTS": str(folder / "checkpoints"),
        "TUNEUP_API_KEY": SECRET,
        **settings,
    }

    def begin(**more: str) -> subprocess.Popen[bytes]:
        member = worker_member(f"w{len(started)}", queue="cpu", environment={})
        environment = {**os.environ, **member.environment, **ours, **more}
        started.append(subprocess.Popen(member.command, cwd=ROOT, env=environment, start_new_session=True))
        return started[-1]

    with opened(url) as ledger:
        try:
            yield ledger, begin
        finally:
            for process in started:
                end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker with all it started, as a host that loses its power."""
    family = descendants(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    psutil.wait_procs(family, timeout=10)


def announce(ledger: Ledger, start: Start, **more: str) -> subprocess.Popen[bytes]:
    """Start a worker and wait until the ledger knows its objectives."""
    process = start(**more)
    wait_for(lambda: bool(ledger.database.read(registered_objectives)), seconds=60, what="objectives announced")
    return process


def settle(ledger: Ledger, study: str, seconds: float = 90) -> list[Any]:
    """Wait for the end of a study; return its trials."""
    wait_for(lambda: ledger.study(study).record.state in ENDED, seconds=seconds, what="the study's end")
    return ledger.trials(study)


def trainer(process: subprocess.Popen[bytes]) -> psutil.Process:
    """Return the trainer below a worker."""
    return next(child for child in descendants(process.pid) if any(w.startswith("training") for w in _words(child)))


def _words(process: psutil.Process) -> list[str]:
    """Return the command line of a process; none where it has just ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(process.cmdline())
    return []


def held_by(ledger: Ledger, worker: psutil.Process) -> int:
    """Return how many trials a worker holds: its supervisor is named by the process that it runs in."""
    ours = [f"-{child.pid}-" for child in descendants(worker.pid)]
    return sum(any(part in lease.worker for part in ours) for lease in ledger.rows("lease"))


def alive(process: psutil.Process) -> bool:
    """Say whether a process still runs."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.is_running())
    return False


def rows(ledger: Ledger, table: str, study: str) -> list[Any]:
    """Return a study's rows of a table."""
    return [row for row in ledger.rows(table) if row.study_id == read_study(study)]


def steps(ledger: Ledger, study: str, attempt: int) -> list[int]:
    """Return the steps measured in this attempt of the study's trials."""
    return [row.step for row in rows(ledger, "measurement", study) if row.attempt == attempt]


def attempts(ledger: Ledger, study: str) -> list[Any]:
    """Return all attempts of a study's trials."""
    return rows(ledger, "attempt", study)
