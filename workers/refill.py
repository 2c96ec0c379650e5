"""Claiming more trials for a trainer that has room, in a thread of its own: a model may think for a second."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from models.session import Unavailable
from search.trials.dispatch import Claim

log = logging.getLogger("tuneup.refill")

# How soon the ledger is asked again that had less than there was room for, unless a trial has ended meanwhile.
PAUSE_SECONDS = 1.0
# Given how many more could be taken and how many are held, returns what was claimed. What it returns is held already.
ClaimMore = Callable[[int, int], list[Claim]]


class Refill:
    """One claim at a time. Its methods belong to one thread, that of the shift."""

    def __init__(self, claim: ClaimMore) -> None:
        """Claim with `claim`, which is called in the thread."""
        self._claim = claim
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="claim")
        self._future: Future[list[Claim]] | None = None
        self._asked = 0
        self._again_at = 0.0
        self.dry = False

    @property
    def busy(self) -> bool:
        """Whether a claim is under way, or has brought what was not taken yet."""
        return self._future is not None

    def room_again(self) -> None:
        """Note that a trial has ended: what the ledger held back it may now give."""
        self._again_at = 0.0
        self.dry = False

    def ask(self, free: int, held: int) -> None:
        """Claim up to `free` more, unless it was in vain a moment ago."""
        if self.busy or time.monotonic() < self._again_at:
            return
        self._asked = free
        # Noted before it is asked, so that an end meanwhile counts.
        self._again_at = time.monotonic() + PAUSE_SECONDS
        self._future = self._pool.submit(self._try, free, held)

    def take(self) -> list[Claim]:
        """Return what was claimed; nothing while it is still under way."""
        if self._future is None or not self._future.done():
            return []
        claims, self._future = self._future.result(), None
        if len(claims) >= self._asked:
            self._again_at = 0.0
        self.dry = not claims and self._again_at > 0
        return claims

    def close(self) -> list[Claim]:
        """Wait for a claim that is under way and return what it brought; none is made after that."""
        self._pool.shutdown(wait=True)
        return self.take()

    def _try(self, free: int, held: int) -> list[Claim]:
        try:
            return self._claim(free, held)
        except Unavailable as error:
            log.warning("no more trials can be claimed now: %s", error)
        except Exception:
            log.exception("a claim for more trials failed; what runs goes on")
        return []
