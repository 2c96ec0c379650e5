"""What a worker serves, how it goes about it, and what it has learned of its trainers."""

from dataclasses import dataclass, field

from workers.running import Terms

_MOST_KNOWN = 256


@dataclass(frozen=True, slots=True)
class Habits:
    """What a supervisor serves, its periods in seconds, how many trials it trains at once at most, and on how many threads.

    Once a trainer has been shared for `slice_seconds`, it is left to another study that waits.
    """

    queue: str
    heartbeat_seconds: float = 10.0
    poll_seconds: float = 20.0
    slice_seconds: float = 30.0
    population: int = 128
    threads: int = 1
    device: str | None = None
    terms: Terms = field(default_factory=Terms)


class Rooms:
    """How many trials of each study this worker's trainer takes at once, as far as trainers have said."""

    def __init__(self, *, most: int) -> None:
        """Never let there be room for more than `most`."""
        self._most = most
        self._known: dict[int, int] = {}

    def of(self, study_id: int) -> int:
        """Return how many; 1 until a trainer has said so."""
        return self._known.get(study_id, 1)

    def learn(self, study_id: int, members: int) -> None:
        """Take what a trainer says; the last word counts."""
        self._known.pop(study_id, None)
        self._known[study_id] = max(1, min(members, self._most))
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
