"""A trainer's end of the socket to its supervisor, for our own recipes and for users' commands alike; no torch."""

import os
import queue
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from training import protocol
from training.files import Saved

PROTOCOL_ERROR = 2


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where a trial's checkpoints are kept, how often one is written, and what to go on from, the newest first."""

    folder: Path
    seconds: float
    resume: tuple[Saved, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """A trial to run, as the supervisor sent it; `wait` is whether it waits for verdicts, or at which steps."""

    trial: str
    objective: Mapping[str, Any]
    params: Mapping[str, Any]
    seed: int
    wait: bool | Collection[int]
    attempt: int = 1
    checkpoints: Checkpoints | None = None
    data: Path | None = None
    lane: bool = False

    def waits(self, step: int) -> bool:
        """Say whether it is to wait for the verdict on this step."""
        return self.wait if isinstance(self.wait, bool) else step in self.wait


@dataclass(frozen=True, slots=True)
class Order:
    """A verdict on the measurement of `step`, or a stop, which has none and may ask for a checkpoint first."""

    trial: str
    step: int | None
    stop: bool
    reason: str | None
    checkpoint: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended: `outcome` is one of protocol.OUTCOMES, `reason` one line, `error` a traceback.

    `ran` is how it was trained, as the message `done` has it.
    """

    outcome: str
    reason: str | None = None
    error: str | None = None
    ran: Mapping[str, Any] | None = None


class Channel:
    """The socket to the supervisor. A thread reads it, so that its end is noticed while a trial computes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._inbox: queue.SimpleQueue[Start | Order | None] = queue.SimpleQueue()
        self._starts: deque[Start] = deque()
        threading.Thread(target=self._read, name="supervisor", daemon=True).start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; when the supervisor is gone, so is this process."""
        line = protocol.encode(message)
        try:
            self._connection.sendall(line)
        except OSError:
            os._exit(0)

    def next_start(self) -> Start:
        """Wait for the next trial. Orders that came before it were meant for earlier ones, perhaps of this same trial."""
        while not self._starts:
            message = self._inbox.get()
            if isinstance(message, Start):
                return message
        return self._starts.popleft()

    def next_order(self, seconds: float) -> Order | None:
        """Return the next verdict or stop, waiting at most `seconds` for it, else None."""
        deadline = time.monotonic() + seconds
        while (message := self.next_message(deadline - time.monotonic() if seconds > 0 else 0.0)) is not None:
            if isinstance(message, Order):
                return message
            self._starts.append(message)
        return None

    def next_message(self, seconds: float) -> Start | Order | None:
        """Return what came next, a trial or an order, waiting at most `seconds` for it, else None."""
        # Asked again and again while trials run: an empty queue must cost next to nothing.
        if seconds <= 0 and self._inbox.empty():
            return None
        try:
            return self._inbox.get(timeout=seconds) if seconds > 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def orders(self) -> Iterator[Order]:
        """Yield verdicts and stops as they come, until `end_orders`."""
        while (message := self._inbox.get()) is not None:
            if isinstance(message, Order):
                yield message
            else:
                self._starts.append(message)

    def end_orders(self) -> None:
        """Let the thread go that waits in `orders`."""
        self._inbox.put(None)

    def _read(self) -> None:
        try:
            for line in self._connection.makefile("rb"):
                for message in understand(line):
                    self._inbox.put(message)
        except (ValueError, KeyError, TypeError) as error:
            sys.stderr.write(f"trainer: protocol error: {error!r}\n")
            sys.stderr.flush()
            os._exit(PROTOCOL_ERROR)
        except OSError:
            pass  # the supervisor is gone, as at end of file
        os._exit(0)


class Pulse:
    """Sends `alive` for one trial, at most once in ALIVE_SECONDS, and not where another message was sent meanwhile."""

    def __init__(self, channel: Channel, trial: str) -> None:
        self._channel = channel
        self._message = {"type": "alive", "trial": trial}
        self.put_off()

    def put_off(self) -> None:
        """Begin the interval anew: a message that says more has been sent."""
        self._due = time.monotonic() + protocol.ALIVE_SECONDS

    def beat(self, now: float) -> None:
        """Send if it is time; `now` is of the monotonic clock."""
        if now >= self._due:
            self._channel.send(self._message)
            self.put_off()


def serve(channel: Channel, attempt: Callable[[Start, Channel], Outcome]) -> NoReturn:
    """Run trials for ever, each with `attempt`; the channel's thread ends the process."""
    channel.send({"type": "ready", "pid": os.getpid()})
    while True:
        start = channel.next_start()
        ended = attempt(start, channel)
        channel.send(done_message(start.trial, ended))


def done_message(trial: str, ended: Outcome) -> protocol.Message:
    """Say how a trial ended."""
    said = {"outcome": ended.outcome, "reason": ended.reason, "error": ended.error}
    ran = {} if ended.ran is None else {"ran": ended.ran}
    return {"type": "done", "trial": trial, **said, **ran}


def checkpoint_message(trial: str, saved: Saved) -> protocol.Message:
    """Say that a checkpoint is on disk."""
    place = {"step": saved.step, "path": str(saved.path), "sha256": saved.sha256, "bytes": saved.size}
    return {"type": "checkpoint", "trial": trial, **place}


def understand(line: bytes) -> list[Start | Order]:
    """Read one line of the supervisor's. Raise ValueError, KeyError or TypeError if it does not follow the protocol."""
    message = protocol.decode(line)
    kind = message["type"]
    if kind == "start":
        return [_start(message)]
    if kind == "verdict":
        return [_verdict(message["trial"], message["step"], message["stop"], message.get("reason"))]
    if kind == "verdicts":
        return [_verdict(*each) for each in message["of"]]
    if kind == "stop":
        wanted = bool(message.get("checkpoint", False))
        return [Order(message["trial"], None, stop=True, reason=message.get("reason"), checkpoint=wanted)]
    raise ValueError(f"unknown message type {kind!r}")


def _verdict(trial: str, step: int, stop: object, reason: str | None) -> Order:
    return Order(trial, step, stop=bool(stop), reason=reason)


def _start(message: protocol.Message) -> Start:
    given, data = message.get("checkpoints"), message.get("data")
    return Start(
        trial=message["trial"],
        objective=dict(message["objective"]),
        params=dict(message["params"]),
        seed=int(message["seed"]),
        wait=_wait(message.get("wait", False)),
        attempt=int(message.get("attempt", 1)),
        checkpoints=None if given is None else _checkpoints(dict(given)),
        data=None if data is None else Path(data),
        lane=bool(message.get("lane", False)),
    )


def _wait(given: object) -> bool | frozenset[int]:
    return frozenset(int(step) for step in given) if isinstance(given, list) else bool(given)


def _checkpoints(given: Mapping[str, Any]) -> Checkpoints:
    resume = [Saved(Path(file["path"]), file["sha256"], int(file["step"])) for file in given.get("resume", ())]
    return Checkpoints(Path(given["folder"]), float(given["seconds"]), tuple(resume))
