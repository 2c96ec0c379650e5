"""How long a trial may go on: a timeout for progress, one for the whole attempt. Our own waits are not the trial's."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from search.definition.limits import Timeouts


class Watch:
    """A monotonic clock, shared by all trials of a trainer, that stands still while they wait for us."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._spent = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds from an arbitrary beginning."""
        return self._monotonic() - self._spent

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Leave the time spent inside out of the reckoning."""
        before = self._monotonic()
        try:
            yield
        finally:
            self._spent += self._monotonic() - before


class Patience:
    """Measures one attempt against its study's timeouts.

    `now` is of a `Watch`. Lateness is asked for a moment up to which all that was said has been heard: what waits in the
    socket while this process sleeps is heard before anything is decided.
    """

    def __init__(self, timeouts: Timeouts, *, now: float) -> None:
        self._timeouts = timeouts
        self._began = self._moved = now

    def moved(self, now: float) -> None:
        """Note a sign of progress."""
        self._moved = now

    def overlong(self, now: float) -> str | None:
        """Say that the attempt has gone on for too long as a whole; None when it has not."""
        total = self._timeouts.total
        if total is not None and now - self._began >= total:
            return f"still running after {total:g} s (timeouts.total)"
        return None

    def silent(self, now: float) -> str | None:
        """Say that there was no sign of progress for too long; None when there was one."""
        progress = self._timeouts.progress
        if progress is not None and now - self._moved >= progress:
            return f"no sign of progress for {progress:g} s (timeouts.progress)"
        return None
