"""How long a trial may go on: a timeout for progress, one for the whole attempt. Our own waits are not the trial's."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from search.schema import Timeouts


class Patience:
    """Measures one attempt against its study's timeouts, on a monotonic clock, from when it is made."""

    def __init__(self, timeouts: Timeouts, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._timeouts = timeouts
        self._monotonic = monotonic
        self._began = self._moved = monotonic()

    def moved(self) -> None:
        """Note a sign of progress."""
        self._moved = self._monotonic()

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Leave the time spent inside out of the reckoning: the trial waited for us."""
        before = self._monotonic()
        try:
            yield
        finally:
            spent = self._monotonic() - before
            self._began += spent
            self._moved += spent

    def spent(self, *, silent: bool) -> str | None:
        """Say which timeout has passed, None for neither. That of progress passes only while the trial is `silent`."""
        now = self._monotonic()
        progress, total = self._timeouts.progress, self._timeouts.total
        if total is not None and now - self._began >= total:
            return f"still running after {total:g} s (timeouts.total)"
        if silent and progress is not None and now - self._moved >= progress:
            return f"no sign of progress for {progress:g} s (timeouts.progress)"
        return None
