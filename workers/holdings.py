"""What a worker holds right now and what is asked of it: shared by its turns, its claims and its heartbeats."""

import threading
from collections.abc import Iterable, Mapping, Sequence

from search.trials.dispatch import Claim
from workers.running import SHUTDOWN, STALE


class Holdings:
    """The claims that are held, by token, and why each is asked to stop. Safe to use from several threads."""

    def __init__(self, stopping: threading.Event) -> None:
        """Once `stopping` is set, all are asked to stop."""
        self.stopping = stopping
        self._claims: dict[str, Claim] = {}
        self._asked: dict[str, str] = {}
        # Whoever changes both must not be interrupted in between.
        self._lock = threading.Lock()

    def take(self, claims: Iterable[Claim]) -> None:
        """Hold these: from now on their leases are beaten."""
        with self._lock:
            self._claims.update({claim.token: claim for claim in claims})

    def drop(self, claims: Iterable[Claim]) -> None:
        """Hold these no longer."""
        with self._lock:
            for claim in claims:
                self._claims.pop(claim.token, None)
                self._asked.pop(claim.token, None)

    def claims(self) -> list[Claim]:
        """Return what is held."""
        with self._lock:
            return list(self._claims.values())

    def hear(self, beaten: Sequence[Claim], answers: Mapping[str, str | None]) -> None:
        """Take the answers to a heartbeat, by token; of whom there is none, the lease is lost."""
        asked = {claim.token: answers.get(claim.token, STALE) for claim in beaten}
        with self._lock:
            self._asked |= {token: why for token, why in asked.items() if why is not None and token in self._claims}

    def why_stop(self, claim: Claim) -> str | None:
        """Say why this trial is asked to stop; None when it is not."""
        return SHUTDOWN if self.stopping.is_set() else self._asked.get(claim.token)
