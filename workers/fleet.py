"""Child processes that are started again when they end, and all end with us."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workers.tether import tethered

log = logging.getLogger("tuneup.fleet")

ROOT = Path(__file__).resolve().parent.parent
RESTART_SECONDS = 2.0
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Member:
    """A program to keep running, and what its environment adds to ours."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


class Fleet:
    """Keeps its members running. Use it from one thread that lives as long as the process."""

    def __init__(self, members: Sequence[Member], *, grace_seconds: float = 0.0) -> None:
        """Name what is to run; `start` starts it. `grace_seconds` is what their trials may take to stop."""
        self._members = members
        self._stop_seconds = STOP_SECONDS + grace_seconds
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._due: dict[str, float] = {}

    def start(self) -> None:
        """Start every member that does not run; one that cannot be started is tried again by `mend`."""
        for member in self._members:
            if member.name not in self._running:
                self._start(member)

    def mend(self) -> None:
        """Start again what has ended, after a pause so that a program that cannot run does not spin."""
        for member in self._members:
            process = self._running.get(member.name)
            if process is not None and process.poll() is not None:
                log.warning("%s ended with status %s; starting it again", member.name, process.returncode)
                del self._running[member.name]
                self._pause(member)
            elif process is None and time.monotonic() >= self._due.get(member.name, 0.0):
                self._start(member)

    def stop(self) -> None:
        """Ask every member to end, with its children; kill what has not ended in time."""
        for process in self._running.values():
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + self._stop_seconds
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.wait()
        self._running.clear()

    def _pause(self, member: Member) -> None:
        self._due[member.name] = time.monotonic() + RESTART_SECONDS

    def _start(self, member: Member) -> None:
        try:
            self._running[member.name] = subprocess.Popen(
                tethered(*member.command),
                cwd=ROOT,
                env={**os.environ, **member.environment},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            # The host is out of processes or memory, perhaps for a moment; the others must not suffer.
            log.error("%s cannot be started, trying again: %s", member.name, error)  # noqa: TRY400  no traceback helps
            self._pause(member)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def worker_member(name: str, *, queue: str, environment: Mapping[str, str]) -> Member:
    """Describe one Celery worker with one child process, serving `queue`."""
    command = (
        *(sys.executable, "-m", "celery", "--app", "workers.tasks", "worker", "--queues", queue),
        *("--concurrency", "1", "--hostname", f"{name}@%h", "--loglevel", "WARNING"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )
    return Member(name=name, command=command, environment={**environment, "TUNEUP_QUEUE": queue})
