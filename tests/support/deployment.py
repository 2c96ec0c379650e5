"""The whole service as processes: embedded, or with the very commands of docker-compose.yml over PostgreSQL and Redis."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support import compose, shared
from tests.support.sources import ROOT
from tuneup import Client

TUNEUP = Path(sys.executable).parent / "tuneup"
READY_SECONDS = 90.0
# So many times as long as on a quiet machine anything may take before a wait gives up.
SLOWEST = 3
KEY = "a key for the tests"

# Short leases, so that a test sees a dead worker noticed.
QUICK = {
    "TUNEUP_LEASE_SECONDS": "3",
    "TUNEUP_HEARTBEAT_SECONDS": "0.5",
    "TUNEUP_REAPER_SECONDS": "0.5",
    "TUNEUP_POLL_SECONDS": "5",
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running service, and how to reach it."""

    url: str
    key: str | None
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> Client:
        """The SDK on this service."""
        return Client(self.url, api_key=self.key)

    def cli(self, *words: str, timeout: float = 240.0) -> subprocess.CompletedProcess[str]:
        """Run the command line against this service."""
        environment = {**os.environ, "TUNEUP_URL": self.url, "TUNEUP_API_KEY": self.key or ""}
        return subprocess.run(
            [str(TUNEUP), *words],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@contextmanager
def embedded(folder: Path, *, workers: int) -> Iterator[Deployment]:
    """Run `tuneup serve` on a free port."""
    port = shared.free_port()
    words = ["serve", "--port", str(port), "--data", str(folder / "data"), "--workers", str(workers)]
    with running(words, QUICK, folder / "serve.log") as process:
        wait_ready(f"http://127.0.0.1:{port}", process, folder / "serve.log")
        yield Deployment(f"http://127.0.0.1:{port}", None, process)


@contextmanager
def composed(folder: Path, *, database_url: str, broker_url: str, workers: int) -> Iterator[Deployment]:
    """Run compose's migrate, api and worker commands, with another port and number of workers."""
    port = shared.free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **QUICK,
        "TUNEUP_DATABASE_URL": database_url,
        "TUNEUP_BROKER_URL": broker_url,
        "TUNEUP_API_KEY": KEY,
    }
    migrate = _words("migrate")
    subprocess.run([str(TUNEUP), *migrate], env={**os.environ, **environment}, cwd=ROOT, check=True, timeout=60)
    api = _with(_words("api"), "--port", str(port))
    worker = _with(_words("worker"), "--workers", str(workers))
    with (
        running(api, environment, folder / "api.log") as process,
        running(worker, environment, folder / "worker.log"),
    ):
        wait_ready(url, process, folder / "api.log")
        yield Deployment(url, KEY, process)


def _words(service: str) -> list[str]:
    program, *words = compose.command(service)
    if program != "tuneup":
        raise AssertionError(f"compose's {service} runs {program}, not tuneup")
    return words


def _with(words: Sequence[str], option: str, value: str) -> list[str]:
    place = list(words).index(option) + 1
    return [*words[:place], value, *words[place + 1 :]]


@contextmanager
def running(words: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a `tuneup` command for the while, and see that it leaves no process behind."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(TUNEUP), *words], env={**os.environ, **environment}, cwd=ROOT, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        family = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        finally:
            for left in family:
                with suppress(psutil.NoSuchProcess):
                    left.kill()


def descendants(pid: int) -> list[psutil.Process]:
    """Return the living children of a process, theirs, and so on."""
    try:
        children: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return children


def celery_workers(pid: int) -> list[psutil.Process]:
    """Return the main processes of the Celery workers below a process, not their children."""
    found = []
    for child in descendants(pid):
        with suppress(psutil.Error):
            if "--hostname" in child.cmdline():
                found.append(child)
    return found


def wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a POST would be accepted. Raise AssertionError with the log otherwise."""

    def ready() -> bool:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2) as reply:  # noqa: S310  our own server
                return bool(reply.status == 200)
        except OSError:
            return False

    wait_for(ready, seconds=READY_SECONDS, what=f"{url} ready")


def wait_for(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Return once the condition holds. Raise AssertionError when it takes SLOWEST times `seconds`."""
    limit = SLOWEST * seconds
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit:.0f} s: {what}"
        time.sleep(0.1)


def run_script(service: Deployment, script: Path, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script in `folder` with `tuneup` on its path and this service in its environment."""
    environment = {
        **os.environ,
        "PATH": f"{TUNEUP.parent}{os.pathsep}{os.environ['PATH']}",
        "TUNEUP_URL": service.url,
        "TUNEUP_API_KEY": service.key or "",
    }
    return subprocess.run(
        ["sh", str(script), *words],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
