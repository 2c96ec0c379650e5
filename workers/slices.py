"""The slice of time that a study has a trainer to itself before it looks whether another one waits."""

import time
from collections.abc import Callable

# Once it was decided to leave the trainer to others, how long who still runs may take to end by itself.
YIELD_SECONDS = 10.0
_ASK_SECONDS = 3.0


class Slice:
    """Counts from now on. It is over for good once another study waits, and not before its seconds are."""

    def __init__(self, seconds: float, others_wait: Callable[[], bool]) -> None:
        """Ask `others_wait` every few seconds, after the first so many."""
        self._others_wait = others_wait
        self._ask_at = time.monotonic() + seconds
        self._yield_at: float | None = None

    @property
    def over(self) -> bool:
        """Whether the trainer is left to another study."""
        return self._yield_at is not None

    @property
    def overdrawn(self) -> bool:
        """Whether who still runs has had time enough to end by itself."""
        return self._yield_at is not None and time.monotonic() >= self._yield_at

    def ends(self) -> bool:
        """Look whether another study waits, when it is time to ask; say whether the slice ends just now."""
        now = time.monotonic()
        if self.over or now < self._ask_at:
            return False
        self._ask_at = now + _ASK_SECONDS
        if self._others_wait():
            self._yield_at = now + YIELD_SECONDS
        return self.over
