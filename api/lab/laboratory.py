"""The queue before the lab's process: one question at a time, a few waiting, the rest sent away."""

from collections.abc import Mapping

from anyio import CapacityLimiter, Lock, to_thread

from api.lab.errors import LabBusy
from api.lab.helper import Keeper

# Being answered or waiting: some pages with three pictures each.
PLACES = 12


class Laboratory:
    """Answers questions of `training.lab` from one warm process. Made and used in one event loop."""

    def __init__(self, keeper: Keeper | None = None) -> None:
        """Start nothing yet."""
        self._keeper = keeper or Keeper()
        self._turn = Lock()
        # A thread of its own, so that pictures never keep studies waiting.
        self._thread = CapacityLimiter(1)
        self._inside = 0

    async def ask(self, question: Mapping[str, object]) -> bytes:
        """Return the answer, in its turn. Raise LabUnavailable, or LabBusy where asking again may help."""
        if self._inside >= PLACES:
            raise LabBusy(f"{PLACES} requests wait for the lab already; try again in a moment")
        self._inside += 1
        try:
            async with self._turn:
                return await to_thread.run_sync(self._keeper.ask, question, limiter=self._thread)
        finally:
            self._inside -= 1

    def close(self) -> None:
        """End the process, if one was started."""
        self._keeper.close()
