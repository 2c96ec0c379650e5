"""The other end of a trainer's socket, for tests: starts a trainer and talks to it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from training import protocol

ROOT = Path(__file__).resolve().parents[2]


class Supervisor:
    """A trainer process, `python -m module`, and the socket to it."""

    def __init__(self, module: str = "training") -> None:
        self.socket, theirs = socket.socketpair()
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "--fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        self.socket.settimeout(60)
        self._lines = self.socket.makefile("rb")

    def send(self, message: dict[str, Any]) -> None:
        self.socket.sendall(protocol.encode(message))

    def receive(self) -> dict[str, Any]:
        return protocol.decode(next(self._lines))

    def receive_until(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages up to the first of this type, and it."""
        seen = [self.receive()]
        while seen[-1]["type"] != kind:
            seen.append(self.receive())
        return seen

    def receive_rest(self) -> list[dict[str, Any]]:
        """Return what an ended process had said; of a last line that it did not end, nothing."""
        return [protocol.decode(line) for line in self._lines if line.endswith(b"\n")]

    def start(self, trial: str, objective: dict[str, Any], params: dict[str, Any], **more: Any) -> None:
        message = {"type": "start", "trial": trial, "attempt": 1, "objective": objective, "params": params}
        self.send(message | {"seed": 7, "wait": False, "checkpoints": None} | more)

    def stop(self, trial: str, **more: Any) -> None:
        self.send({"type": "stop", "trial": trial, "reason": "cancelled", "checkpoint": False} | more)

    def finish(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the measurements up to `done`, and it."""
        seen = self.receive_until("done")
        return of_type(seen, "measurement"), seen[-1]

    def run(self, objective: dict[str, Any], params: dict[str, Any], **more: Any) -> Any:
        self.start("t", objective, params, **more)
        return self.finish()

    def hang_up(self) -> int:
        self._lines.close()
        self.socket.close()
        return self.process.wait(20)

    def errors(self) -> str:
        """Return what the ended process wrote to standard error."""
        return self.process.communicate(timeout=60)[1]

    def kill(self) -> None:
        """End the process and its group, as a real supervisor does."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._lines.close()
        self.socket.close()


def of_type(messages: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] == kind]
