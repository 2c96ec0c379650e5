"""A run that is trained alone beside lanes: stepped as `training.loop` does, with a lane's face."""

import time
from collections.abc import Container

from training import loop
from training.course import Run
from training.population.programs import STRIDE_SECONDS
from training.watch import Ending


class Single:
    """One run, a stride at a time."""

    def __init__(self, run: Run) -> None:
        self._run: Run | None = run

    @property
    def runs(self) -> list[Run]:
        """The run, until it has ended or left."""
        return [] if self._run is None else [self._run]

    def leave(self, runs: list[Run]) -> None:
        """Let the run go, if it is among these."""
        if self._run in runs:
            self._run = None

    def take_left(self) -> list[tuple[Run, Ending]]:
        """Return nobody: who ends is returned at once."""
        return []

    @property
    def choosy(self) -> bool:
        """Whether some could stand still: there are no others."""
        return False

    def advance(self, still: Container[Run] = ()) -> list[tuple[Run, Ending]]:
        """Train for a stride; return the run if it ended. Raise what its steps raise.

        A stride ends with an epoch, because then a verdict may have to be waited for.
        """
        del still
        run, began = self._run, time.monotonic()
        if run is None:
            return []
        epoch = run.state.epoch
        while run.state.epoch == epoch and time.monotonic() - began < STRIDE_SECONDS:
            if (ending := loop.step(run)) is not None:
                self._run = None
                return [(run, ending)]
        return []
