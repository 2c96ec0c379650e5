"""A trial's seat in a trainer that holds many: what it was sent, who follows it, and how it has been trained so far."""

import time
from dataclasses import dataclass
from typing import Any

from training import protocol
from training.channel import Channel, Order, Start
from training.course import Run
from training.reporter import Reporter
from training.state import Snapshot
from training.watch import Pause


class Outbox:
    """Measurements of many trials, to be sent as one message."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._waiting: list[tuple[str, int, dict[str, float]]] = []

    def post(self, trial: str, step: int, values: dict[str, float]) -> None:
        """Keep a measurement until the next `flush`."""
        self._waiting.append((trial, step, values))

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting:
            self._channel.send({"type": "measurements", "of": self._waiting})
            self._waiting = []


class Follower(Reporter):
    """Follows one trial of many: its reports leave together with others', and orders are handed to it."""

    def __init__(self, channel: Channel, start: Start, outbox: Outbox) -> None:
        super().__init__(channel, start)
        self._outbox = outbox
        # Until when it waits for a verdict, and on which step.
        self._awaited: tuple[float, int] | None = None

    def report(self, step: int, values: dict[str, float]) -> None:
        """Have a measurement sent, and wait for the verdict on it where the study may prune at this step."""
        self._outbox.post(self._start.trial, step, values)
        self._pulse.put_off()
        if self._start.waits(step):
            self._awaited = time.monotonic() + protocol.VERDICT_SECONDS, step

    def take(self, order: Order) -> None:
        """Take a verdict or a stop."""
        super().take(order)
        if self._awaited is not None and (order.stop or order.step == self._awaited[1]):
            self._awaited = None

    @property
    def waits_until(self) -> float | None:
        """Until when it waits for a verdict, on the monotonic clock; None if it does not wait."""
        if self._awaited is not None and time.monotonic() > self._awaited[0]:
            self._awaited = None
        return None if self._awaited is None else self._awaited[0]

    def between(self) -> Pause:
        """Say what to do now; orders have been taken already."""
        return self._pause()

    def save(self, step: int, snapshot: Snapshot) -> None:
        """Write a checkpoint and announce it, after the measurements that it stands on."""
        self._outbox.flush()
        super().save(step, snapshot)


@dataclass(slots=True, eq=False)
class Seat:
    """A trial that the trainer holds: `lane` is the name of the one it is or was in, `alone` why it cannot be in one."""

    start: Start
    follower: Follower
    run: Run | None = None
    lane: str | None = None
    alone: str | None = None
    population: int = 1
    seconds: float = 0.0

    @property
    def begun(self) -> Run:
        """Its run. Raise RuntimeError before there is one."""
        if self.run is None:
            raise RuntimeError(f"trial {self.start.trial} has not begun")
        return self.run

    @property
    def ran(self) -> dict[str, Any]:
        """How it has been trained, for `done`."""
        seconds = round(self.seconds, 6)
        return {"lane": self.lane, "population": self.population, "seconds": seconds, "alone": self.alone}
