"""Who follows a run and what it may ask of it, and how a run ends."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from typing import Protocol

from training.state import Snapshot


class Pause(Flag):
    """What a run is to do between two batches, if anything; to save comes before to stop."""

    NONE = 0
    SAVE = auto()
    STOP = auto()


class Watch(Protocol):
    """Who follows a run, and tells it when to save and when to stop."""

    def resume(self, fits: Callable[[Snapshot], bool]) -> Snapshot | None:
        """Return the newest snapshot that fits, to go on from it; None to begin."""

    def report(self, step: int, values: dict[str, float]) -> None:
        """Take the measurement of an epoch; all values are finite."""

    def between(self) -> Pause:
        """Say what to do now. Called after every batch and every report, so it must cost microseconds."""

    def save(self, step: int, snapshot: Snapshot) -> None:
        """Store a snapshot taken after `step` epochs were reported. Its tensors are the run's own."""


class Nobody:
    """Follows a run, and wants nothing of it."""

    def resume(self, fits: Callable[[Snapshot], bool]) -> Snapshot | None:
        del fits
        return None

    def report(self, step: int, values: dict[str, float]) -> None:
        pass

    def between(self) -> Pause:
        return Pause.NONE

    def save(self, step: int, snapshot: Snapshot) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Ending:
    """How training ended: "completed", "stopped" (the watch asked for it) or "diverged", with its reason."""

    outcome: str
    reason: str | None = None


class Diverged(Exception):
    """The run left the numbers or exploded; the message says where and by how much."""
