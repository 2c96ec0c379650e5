"""A study that waits for a worker which is not there."""

import time

from tuneup.client import Client
from tuneup.errors import TuneupError
from tuneup.study import Study

IDLE_SECONDS = 5.0
ANSWER_SECONDS = 5.0


class Idle:
    """Tells once that a running study has stood still: no trial running, none allocated or finished anew."""

    def __init__(self) -> None:
        self._told = False
        self._last: tuple[int, int] | None = None
        self._since = 0.0

    def too_long(self, study: Study, *, now: float) -> bool:
        """Look at the study at `now` (time.monotonic): True the first time it has stood still for IDLE_SECONDS."""
        counts = (study.progress["allocated"], study.progress["finished"])
        still = study.state == "running" and study.progress["running"] == 0
        if not still or counts != self._last:
            self._last, self._since = counts, now
        if self._told or not still or now - self._since < IDLE_SECONDS:
            return False
        self._told = True
        return True


def unserved(client: Client, study: Study) -> str | None:
    """Say what to do where no live worker serves the study's queue; None where one does, or where nobody can tell."""
    queue = study.data["queue"]
    try:
        workers = client.workers(deadline=time.monotonic() + ANSWER_SECONDS)
    except TuneupError:
        return None
    if any(worker["queue"] == queue for worker in workers):
        return None
    return f"no live worker serves queue {queue}; start one with `tuneup worker --queue {queue}`"
