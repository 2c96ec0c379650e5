"""The one trainer of a supervisor: of the right kind, ready, replaced when worn or dead."""

import logging
from collections.abc import Callable

from search.definition.kinds import Objective, RegisteredObjective
from workers.trainer import COMMANDS, RECIPES, Trainer, TrainerDied

log = logging.getLogger("tuneup.supervisor")


def kind_of(objective: Objective) -> str:
    """Return the module of the trainer that runs such an objective."""
    return COMMANDS if isinstance(objective, RegisteredObjective) else RECIPES


class TrainerKeeper:
    """Keeps one trainer ready. Use it from one thread at a time."""

    def __init__(self, *, give_up: Callable[[], bool], threads: int = 1) -> None:
        """Wait for no trainer once `give_up()` is true. Those for recipes may use so many threads."""
        self._give_up = give_up
        self._threads = threads
        self._trainer: Trainer | None = None

    def ready(self, kind: str | None = None) -> Trainer | None:
        """Return a trainer of this kind that has done its imports; without a kind the one there is, else for recipes.

        None when we give up, or when none can start on this host.
        """
        if self._trainer is not None and not _fits(self._trainer, kind):
            self.end()
        try:
            if self._trainer is None and not self._give_up():
                self._trainer = Trainer(kind or RECIPES, threads=self._threads)
            ready = self._trainer is not None and self._trainer.wait_ready(give_up=self._give_up)
        except (TrainerDied, OSError) as error:
            log.error("this host takes no trials, its trainer cannot start: %s", error)  # noqa: TRY400  no traceback helps
            self.end()
            return None
        return self._trainer if ready and not self._give_up() else None

    def end(self) -> None:
        """End the trainer, if there is one, with all it started."""
        if self._trainer is not None:
            self._trainer.kill()
            self._trainer = None


def _fits(trainer: Trainer, kind: str | None) -> bool:
    return trainer.alive and not trainer.worn and kind in {None, trainer.kind}
