"""Between a run and its supervisor: passes measurements and checkpoints on, and learns when to save and when to stop."""

import math
import time
from collections.abc import Callable

from training import protocol
from training.channel import Channel, Order, Pulse, Start, checkpoint_message
from training.checkpoint import Keeper
from training.state import Snapshot
from training.watch import Pause


class Reporter:
    """Follows one trial for its supervisor; the `Watch` of the trainer process."""

    def __init__(self, channel: Channel, start: Start) -> None:
        self._channel = channel
        self._start = start
        self._pulse = Pulse(channel, start.trial)
        self._stop: Order | None = None
        self._keeper: Keeper | None = None
        self._seconds = math.inf
        if start.checkpoints is not None:
            kept = start.checkpoints
            self._keeper = Keeper(kept.folder, attempt=start.attempt, resume=kept.resume)
            self._seconds = kept.seconds
        self._save_due = time.monotonic() + self._seconds

    @property
    def reason(self) -> str | None:
        """Why the supervisor stops the trial, once it does."""
        return self._stop.reason if self._stop else None

    def resume(self, fits: Callable[[Snapshot], bool]) -> Snapshot | None:
        """Return the newest sound checkpoint, and say that the trial goes on from it."""
        found = self._keeper.resume(fits) if self._keeper else None
        if found is None:
            return None
        saved, snapshot = found
        self._channel.send({"type": "resumed", "trial": self._start.trial, "step": saved.step})
        return snapshot

    def report(self, step: int, values: dict[str, float]) -> None:
        """Send a measurement; where the study may prune at this step, wait for its verdict."""
        self._channel.send({"type": "measurement", "trial": self._start.trial, "step": step, "values": values})
        self._pulse.put_off()
        if self._start.waits(step):
            self._await_verdict(step)

    def between(self) -> Pause:
        """Look for a stop, show a sign of life, and say what to do."""
        while self._stop is None and (order := self._channel.next_order(0)) is not None:
            self.take(order)
        return self._pause()

    def take(self, order: Order) -> None:
        """Take a verdict or a stop."""
        # An order for another trial came after that one had ended.
        if order.trial == self._start.trial and order.stop:
            self._stop = self._stop or order

    def _pause(self) -> Pause:
        if self._stop is not None:
            return Pause.STOP | Pause.SAVE if self._stop.checkpoint else Pause.STOP
        now = time.monotonic()
        self._pulse.beat(now)
        return Pause.SAVE if now >= self._save_due else Pause.NONE

    def save(self, step: int, snapshot: Snapshot) -> None:
        """Write a checkpoint and announce it, then remove those that it replaces."""
        if self._keeper is None:
            return
        saved = self._keeper.save(step, snapshot)
        if saved is not None:
            self._channel.send(checkpoint_message(self._start.trial, saved))
            self._keeper.prune()
        self._save_due = time.monotonic() + self._seconds

    def _await_verdict(self, step: int) -> None:
        deadline = time.monotonic() + protocol.VERDICT_SECONDS
        while (order := self._channel.next_order(deadline - time.monotonic())) is not None:
            self.take(order)
            if self._stop is not None or (order.trial == self._start.trial and order.step == step):
                return
