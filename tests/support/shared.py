"""One server process shared by every process of a test run.

Several pytest workers may want the same server. The first starts it, all write their process id beside
it, and the last to leave stops it. What a killed run left behind is found by the next one and used.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it listens, which process it is, and the signal that ends it in order."""

    url: str
    pid: int
    stop_signal: int = signal.SIGTERM
    folder: str | None = None  # its data, removed when it ends


def home() -> Path:
    """Return the folder of this user's test services, outside any checkout so that other users can reach it."""
    folder = Path(tempfile.gettempdir()) / f"tuneup-test-services-{os.getuid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise RuntimeError(f"{folder} belongs to another user: remove it or set TMPDIR")
    return folder


def free_port() -> int:
    """Return a loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(
    ready: Callable[[], bool], *, what: str, process: subprocess.Popen[bytes], seconds: float = 60.0
) -> None:
    """Return once `ready()`; raise RuntimeError when the process ends or the time is over."""
    end = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with status {process.returncode} while starting")
        if time.monotonic() > end:
            process.kill()
            raise RuntimeError(f"{what} was not ready after {seconds:.0f} s")
        time.sleep(0.05)


def stop(server: Server) -> None:
    """End the server in order, by force after STOP_SECONDS, and remove its data."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(server.pid)
        process.send_signal(server.stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
    if server.folder is not None:
        shutil.rmtree(server.folder, ignore_errors=True)


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """Hold the lock of one service; yield its state file."""
    with (home() / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield home() / f"{name}.json"


@contextmanager
def shared(name: str, start: Callable[[], Server]) -> Iterator[str]:
    """Yield the URL of the service `name`, started by `start` unless another process of ours runs it already."""
    with locked(name) as state:
        server = _running(state) or start()
        _write(state, server, users=[*_users(state), os.getpid()])
    try:
        yield server.url
    finally:
        with locked(name) as state:
            users = _users(state)
            with suppress(ValueError):
                users.remove(os.getpid())  # one entry: this process may be inside more than once
            if users:
                _write(state, server, users=users)
            else:
                stop(server)
                state.unlink(missing_ok=True)


def _read(state: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(state.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content


def _running(state: Path) -> Server | None:
    content = _read(state)
    if not content:
        return None
    server = Server(**content["server"])
    try:
        same = psutil.Process(server.pid).create_time() == content["created"]
    except psutil.NoSuchProcess:
        return None
    return server if same else None  # the number may have gone to another process since


def _users(state: Path) -> list[int]:
    return [pid for pid in _read(state).get("users", []) if psutil.pid_exists(pid)]


def _write(state: Path, server: Server, *, users: list[int]) -> None:
    created = psutil.Process(server.pid).create_time()
    state.write_text(json.dumps({"server": asdict(server), "created": created, "users": users}))
