"""The supervisor's end of a trainer process: start it, talk to it, end it.

A trainer runs in a session of its own, without credentials in its environment, and dies with this process.
It stays warm between trials, and is replaced after an error that may have spoilt it or after many trials.
What it says is read in batches: a lane of trials says thousands of things a second.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from training.processes import descendants
from training.protocol import Message, decode, encode
from workers.tether import tethered

# The modules that are trainers: of our recipes, and of commands that users have registered.
RECIPES = "training"
COMMANDS = "training.command"
ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 120.0
# After so many trials it is replaced: of those that had it for themselves, and of those that shared it with others.
MOST_TRIALS = 200
MOST_SHARED = 20_000
GRACE_SECONDS = 5.0
_LOOK_SECONDS = 0.5
# A trainer reads what it is told at once, in a thread of its own: one that does not is stuck as a whole.
_SEND_SECONDS = 60.0
_READ_BYTES = 1 << 20
# What a shell adds to the number of a signal, and our adaptor of commands to that of the one that ended its command.
_BY_SIGNAL = 128
_KEPT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NUMBA_CACHE_DIR"),
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Compiled steps take products of small matrices on the thread they run on.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS",)


class TrainerDied(Exception):
    """The trainer process ended, or could not start."""


class Trainer:
    """A running trainer process."""

    def __init__(self, kind: str = RECIPES, *, threads: int = 1) -> None:
        """Start the process: the module `kind`. Its imports go on meanwhile; `wait_ready` waits for them.

        One for recipes may use so many `threads`, and finds out how many it should; users' commands are given one.
        """
        ours, theirs = socket.socketpair()
        ours.settimeout(_SEND_SECONDS)
        self._socket = ours
        self._buffer = b""
        self._ready = False
        self.kind = kind
        self.trials = 0
        self.shared = 0
        with theirs:
            self._process = subprocess.Popen(
                tethered(sys.executable, "-m", kind, "--fd", str(theirs.fileno())),
                cwd=ROOT,
                env=environment(os.environ, threads=threads if kind == RECIPES else 1),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self._process.pid

    @property
    def worn(self) -> bool:
        """Whether it has run enough trials to be replaced."""
        return self.trials / MOST_TRIALS + self.shared / MOST_SHARED >= 1

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def wait_ready(self, *, give_up: Callable[[], bool]) -> bool:
        """Wait for its imports, once, or until `give_up()`; return whether it is ready.

        Raise TrainerDied if it ends or takes too long.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready and not give_up():
            if time.monotonic() > deadline:
                raise TrainerDied(f"the trainer was not ready within {READY_SECONDS:.0f} s")
            said = self.receive(timeout=_LOOK_SECONDS)
            self._ready = any(message["type"] == "ready" for message in said)
        return self._ready

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message. Raise TrainerDied when nobody listens any more."""
        try:
            self._socket.sendall(encode(message))
        except TimeoutError as error:
            raise TrainerDied(f"the trainer read nothing for {_SEND_SECONDS:.0f} s") from error
        except OSError as error:
            raise TrainerDied(self.epitaph()) from error

    def receive(self, *, timeout: float) -> list[Message]:
        """Return all that has come, in order; wait up to `timeout` seconds for something. Raise TrainerDied at its end."""
        deadline = time.monotonic() + timeout
        while True:
            readable, _, _ = select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                return []
            *lines, self._buffer = (self._buffer + self._read()).split(b"\n")
            if lines:
                return [decode(line) for line in lines]

    def _read(self) -> bytes:
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            raise TrainerDied(self.epitaph())
        return data

    def epitaph(self) -> str:
        """Say how the process ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=GRACE_SECONDS)
        code = self._process.poll()
        if code is None:
            return "the trainer closed its socket"
        if code < 0:
            return f"the trainer was killed by signal {signal.Signals(-code).name}"
        if code > _BY_SIGNAL:
            with contextlib.suppress(ValueError):
                return f"the trainer exited with status {code}, as after {signal.Signals(code - _BY_SIGNAL).name}"
        return f"the trainer exited with status {code}"

    def kill(self) -> None:
        """End the process and all it started, at once."""
        self._signal(signal.SIGSTOP)  # so that nothing is started while we look
        # A command may start some in sessions of their own, as launchers do, and these are in nobody's group.
        started = descendants(self.pid) if self.alive else []
        self._signal(signal.SIGKILL)
        for process in started:
            with contextlib.suppress(OSError):  # it has ended, or is not ours to kill
                os.kill(process, signal.SIGKILL)
        self._process.wait()
        self._socket.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def environment(source: Mapping[str, str], *, threads: int = 1) -> dict[str, str]:
    """Give a trainer what it needs of our environment and nothing secret: neither database nor broker nor keys."""
    kept = {name: source[name] for name in _KEPT if name in source}
    counts = dict.fromkeys(_THREADS, str(threads)) | dict.fromkeys(_ONE_THREAD, "1")
    return {**counts, **kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
