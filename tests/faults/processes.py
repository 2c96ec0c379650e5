"""The service's own processes: two APIs and some workers, found, watched, and started again when they end."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults.servers import wait_until
from tests.support.shared import free_port
from tests.support.sources import ROOT
from workers.fleet import worker_member
from workers.tether import tethered

SITE = Path(__file__).parent / "site"
STUB = Path(__file__).parent / "stub.py"
LEASE_SECONDS = 3.0
REAPER_SECONDS = 0.5
READY_SECONDS = 60.0
# A program that is told to end and does not is a finding, and is killed.
STOP_SECONDS = 30.0
_RESTART_SECONDS = 0.5
_SETTINGS = {
    "TUNEUP_LEASE_SECONDS": str(LEASE_SECONDS),
    "TUNEUP_HEARTBEAT_SECONDS": "0.5",
    "TUNEUP_REAPER_SECONDS": str(REAPER_SECONDS),
    "TUNEUP_POLL_SECONDS": "2",
}


@dataclass(eq=False, slots=True)
class Program:
    """One program that is to run all the time. Use it from a thread that lives as long as the process."""

    name: str
    words: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    told_at: float | None = None  # when it was asked to end
    _due: float | None = None

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id, or 0 while it does not run."""
        return self.process.pid if self.process is not None and self.running else 0

    def start(self) -> None:
        """Start it; it dies with this process."""
        self._due = self.told_at = None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                tethered(*self.words),
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def mend(self) -> str | None:
        """Start it again a moment after it ended. Return what is wrong with it, if anything is."""
        now = time.monotonic()
        if self.running:
            if self.told_at is None or now < self.told_at + STOP_SECONDS:
                return None
            self.signal(signal.SIGKILL)
            self.told_at = None
            return f"{self.name} did not end within {STOP_SECONDS:.0f} s of SIGTERM"
        if self._due is None:
            self._due = now + _RESTART_SECONDS
        elif now >= self._due:
            self.start()
        return None

    def signal(self, number: int) -> None:
        """Send a signal to the process itself; none where it does not run."""
        if self.process is not None:
            self.process.send_signal(number)

    def terminate(self) -> None:
        """Ask it to end, its way."""
        if self.running and self.told_at is None:
            self.told_at = time.monotonic()
            self.signal(signal.SIGTERM)

    def supervisor(self) -> int | None:
        """Return the process id of a Celery worker's child, None while it has none."""
        return _child(self.pid, "spawn_main")

    def trainer(self) -> int | None:
        """Return the process id of the trainer below a Celery worker's child, None while it has none."""
        return _child(self.supervisor() or 0, "training")


@dataclass(eq=False, slots=True)
class Programs:
    """Every program of one deployment."""

    apis: list[Program] = field(default_factory=list)
    workers: list[Program] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[Program]:
        """The APIs, then the workers."""
        return [*self.apis, *self.workers]

    @property
    def urls(self) -> list[str]:
        """Where the APIs answer."""
        return [f"http://127.0.0.1:{api.words[-1]}" for api in self.apis]

    def start(self) -> None:
        """Start them all and wait until both APIs are ready. Raise RuntimeError where one is not."""
        for program in self.all:
            program.start()
        for url in self.urls:
            wait_until(lambda url=url: _answers(f"{url}/readyz"), what=f"{url} ready", seconds=READY_SECONDS)  # type: ignore[misc]

    def mend(self) -> None:
        """Start again what has ended, and note what does not end when told to."""
        self.complaints += [said for program in self.all if (said := program.mend()) is not None]

    def stop(self) -> None:
        """Kill them all; the kernel ends their children with them."""
        for program in self.all:
            program.signal(signal.SIGKILL)
        for program in self.all:
            if program.process is not None:
                program.process.wait()


def plan(folder: Path, *, database_url: str, broker_url: str, workers: int, more: Mapping[str, str]) -> Programs:
    """Describe two APIs and `workers` Celery workers over these servers, with logs in `folder`."""
    environment = {
        **_SETTINGS,
        "TUNEUP_DATABASE_URL": database_url,
        "TUNEUP_BROKER_URL": broker_url,
        "TUNEUP_OBJECTIVES": str(write_objectives(folder)),
        "PYTHONPATH": f"{SITE}{os.pathsep}{ROOT}",
        "PYTHONUNBUFFERED": "1",
        "TUNEUP_DEVICE": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        **more,
    }
    made = Programs()
    for number in range(2):
        words = [sys.executable, "-m", "api", "--port", str(free_port())]
        made.apis.append(Program(f"api{number}", words, environment, folder / f"api{number}.log"))
    for number in range(workers):
        member = worker_member(f"cpu{number}", queue="cpu", environment=environment)
        made.workers.append(Program(member.name, member.command, member.environment, folder / f"{member.name}.log"))
    return made


def write_objectives(folder: Path) -> Path:
    """Register the stub as the objective `stub` in a tuneup.toml in `folder`; return the file."""
    path = folder / "tuneup.toml"
    path.write_text(
        "[objectives.stub]\n"
        f'command = ["{sys.executable}", "-S", "-I", "{STUB}"]\n'
        'folder = "."\n'
        f'environment = {{TUNEUP_ORACLE = "{folder / "oracle.jsonl"}"}}\n'
        'title = "A script that does not train"\n'
    )
    return path


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _child(pid: int, word: str) -> int | None:
    """Return the newest child of `pid` that has `word` in its command line."""
    with suppress(psutil.Error):
        for child in reversed(psutil.Process(pid).children() if pid else []):
            with suppress(psutil.Error):
                if any(word in argument for argument in child.cmdline()):
                    return int(child.pid)
    return None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310  our own server
            return bool(reply.status == 200)
    except OSError:
        return False
