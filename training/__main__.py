"""The trainer process: `python -m training --fd N` runs trials that its supervisor sends over the inherited socket N.

Kept warm between trials, because importing torch takes seconds; before each trial everything that one may have left
behind is reset, so that a warm trainer gives the numbers of a fresh one. It exits with 0 at end of file, even in the
middle of a trial, and with 2 on a message it cannot understand. The messages are those of `training.protocol`.
"""

import argparse
import os
import queue
import random
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from training import protocol, recipes
from training.recipes import NoDevice, Outcome

ERROR_BYTES = 64 * 1024
REASON_CHARACTERS = 200
PROTOCOL_ERROR = 2
OUT_OF_MEMORY = "out_of_memory"
DEVICE = "device"
# How torch words a refusal of the host's memory, which has no exception class of its own.
_HOST_MEMORY_WORDS = ("can't allocate memory", "not enough memory")
# CUDA's libraries (cuBLAS, cuDNN) fail with a plain RuntimeError that says so.
_DEVICE_WORDS = ("CUDA error",)


@dataclass(frozen=True, slots=True)
class Start:
    """A trial to run, as the supervisor sent it."""

    trial: str
    objective: Mapping[str, Any]
    params: Mapping[str, Any]
    seed: int
    wait: bool


@dataclass(frozen=True, slots=True)
class Order:
    """A verdict on the measurement of `step`, or a stop, which has none."""

    trial: str
    step: int | None
    stop: bool
    reason: str | None


class Channel:
    """The socket to the supervisor. A thread reads it, so that its end is noticed while a trial computes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._starts: queue.SimpleQueue[Start] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="supervisor", daemon=True).start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; when the supervisor is gone, so is this process."""
        line = protocol.encode(message)
        try:
            self._connection.sendall(line)
        except OSError:
            os._exit(0)

    def next_start(self) -> Start:
        """Wait for the next trial."""
        return self._starts.get()

    def next_order(self, seconds: float) -> Order | None:
        """Return the next verdict or stop, waiting at most `seconds` for it, else None."""
        try:
            return self._orders.get(timeout=seconds) if seconds > 0 else self._orders.get_nowait()
        except queue.Empty:
            return None

    def _read(self) -> None:
        try:
            for line in self._connection.makefile("rb"):
                message = understand(line)
                if isinstance(message, Start):
                    # What came before was meant for an earlier attempt, perhaps of this same trial.
                    self._orders = queue.SimpleQueue()
                    self._starts.put(message)
                else:
                    self._orders.put(message)
        except (ValueError, KeyError, TypeError) as error:
            sys.stderr.write(f"trainer: protocol error: {error!r}\n")
            sys.stderr.flush()
            os._exit(PROTOCOL_ERROR)
        except OSError:
            pass  # the supervisor is gone, as at end of file
        os._exit(0)


def understand(line: bytes) -> Start | Order:
    """Read one line of the supervisor's. Raise ValueError, KeyError or TypeError if it does not follow the protocol."""
    message = protocol.decode(line)
    kind = message["type"]
    if kind == "start":
        return Start(
            trial=message["trial"],
            objective=dict(message["objective"]),
            params=dict(message["params"]),
            seed=int(message["seed"]),
            wait=bool(message.get("wait", False)),
        )
    if kind == "verdict":
        return Order(message["trial"], message["step"], stop=bool(message["stop"]), reason=message.get("reason"))
    if kind == "stop":
        return Order(message["trial"], None, stop=True, reason=message.get("reason"))
    raise ValueError(f"unknown message type {kind!r}")


class Reporter:
    """Passes one trial's measurements on and learns whether to stop; `reason` is the supervisor's, once it said so."""

    def __init__(self, channel: Channel, start: Start) -> None:
        self._channel = channel
        self._start = start
        self.reason: str | None = None

    def __call__(self, step: int, values: dict[str, float]) -> bool:
        trial = self._start.trial
        self._channel.send({"type": "measurement", "trial": trial, "step": step, "values": values})
        deadline = time.monotonic() + (protocol.VERDICT_SECONDS if self._start.wait else 0.0)
        while (order := self._channel.next_order(deadline - time.monotonic())) is not None:
            if order.trial != trial:
                continue  # a verdict that came after its trial had ended
            if order.stop:
                self.reason = order.reason
                return True
            if order.step == step:
                return False
        return False


def attempt(start: Start, channel: Channel) -> Outcome:
    """Run one trial; whatever its recipe raises becomes the outcome `failed`."""
    reset(start.seed)
    reporter = Reporter(channel, start)
    try:
        outcome = recipes.run(start.objective, start.params, seed=start.seed, report=reporter)
    except Exception as error:  # noqa: BLE001 - the edge of the process: a trial's error must not end the trainer
        return Outcome("failed", reason_of(error), _tail(traceback.format_exc()))
    return Outcome("stopped", reporter.reason) if outcome.outcome == "stopped" else outcome


def reset(seed: int) -> None:
    """Undo what an earlier trial may have left: random state, dtype, device, gradient mode, threads."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries draw from this state
    torch.manual_seed(seed % 2**63)
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.set_num_threads(1)  # trials run side by side, one process on each core


def reason_of(error: Exception) -> str:
    """Return one line for people; `out_of_memory`, or `device` where the host's device failed and not the trial."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, RuntimeError) and any(words in text for words in _HOST_MEMORY_WORDS):
        return OUT_OF_MEMORY
    if isinstance(error, torch.AcceleratorError | NoDevice):
        return DEVICE
    if isinstance(error, RuntimeError) and any(words in text for words in _DEVICE_WORDS):
        return DEVICE
    line = text.strip().partition("\n")[0]
    return f"{type(error).__name__}: {line}"[:REASON_CHARACTERS]


def serve(channel: Channel) -> None:
    """Run trials for ever; the channel's thread ends the process."""
    channel.send({"type": "ready", "pid": os.getpid()})
    while True:
        start = channel.next_start()
        ended = attempt(start, channel)
        channel.send(
            {
                "type": "done",
                "trial": start.trial,
                "outcome": ended.outcome,
                "reason": ended.reason,
                "error": ended.error,
            }
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description="Run trials for a supervisor.")
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of the inherited socket")
    serve(Channel(socket.socket(fileno=parser.parse_args().fd)))


def _tail(text: str) -> str:
    """Return the end of a traceback, where the error is, in at most ERROR_BYTES bytes."""
    return text.encode(errors="replace")[-ERROR_BYTES:].decode(errors="ignore")


if __name__ == "__main__":
    main()
