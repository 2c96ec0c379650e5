"""Ours without the service: trainer processes that are handed trials at once, as a supervisor would, and nothing stored.

One process per core holds a trainer and speaks its protocol (`training/protocol.py`); a trainer that never says how much
room it has is given one trial at a time.
"""

import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence

from benchmarks.hands import Work
from benchmarks.plain_torch import Run
from tests.support.sources import ROOT
from training.protocol import Message, decode, encode
from workers.tether import tethered
from workers.trainer import environment


class Engine:
    """A trainer; dies with the thread that made it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                tethered(sys.executable, "-m", "training", "--fd", str(theirs.fileno())),
                cwd=ROOT,
                env=environment(os.environ),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._socket, self._lines = ours, ours.makefile("rb")
        self._room = 1
        self._wait_for("ready")

    def train(self, runs: Sequence[Run], *, population: int, device: str) -> int:
        """Train all, at most `population` of them at once; return how many completed."""
        waiting, held, completed = deque(enumerate(runs)), 0, 0
        while waiting or held:
            while waiting and held < min(population, self._room):
                self._socket.sendall(encode(_start(*waiting.popleft(), device=device)))
                held += 1
            message = self._next()
            if message["type"] == "room":
                self._room = message["members"]
            elif message["type"] == "done":
                held -= 1
                if message["outcome"] == "released":
                    waiting.append((int(message["trial"]), runs[int(message["trial"])]))
                completed += message["outcome"] == "completed"
        return completed

    def _wait_for(self, kind: str) -> None:
        while self._next()["type"] != kind:
            pass

    def _next(self) -> Message:
        line = self._lines.readline()
        if not line:
            raise RuntimeError(f"the trainer ended with status {self._process.wait()}")
        return decode(line)


_engines: list[Engine] = []


def prepare(place: int, runs: Sequence[Run], processes: int, population: int, device: str) -> Work:
    """Start this process's trainer unless it runs already, and warm it up on as many trials as it is to hold.

    A `Prepare` of `benchmarks.hands`; the work returns how many trials completed.
    """
    if not _engines:
        _engines.append(Engine())
    (engine,), share = _engines, runs[place::processes]
    engine.train(share[: min(population, 16)], population=population, device=device)
    return lambda: engine.train(share, population=population, device=device)


def _start(number: int, run: Run, *, device: str) -> Message:
    network = {"kind": "mlp", "hidden": list(run.hidden)}
    objective = {"recipe": "classifier", "data": "digits", "network": network, "epochs": run.epochs, "device": device}
    return {
        "type": "start",
        "trial": str(number),
        "attempt": 1,
        "objective": objective,
        "params": dict(run.params),
        "seed": run.seed,
        "lane": True,
        "wait": False,
        "checkpoints": None,
        "data": None,
    }
