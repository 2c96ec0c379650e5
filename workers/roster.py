"""The trials of a shift by where they stand, and who may come next. Nothing here speaks to anyone."""

from collections.abc import Callable, Iterator
from math import inf

from workers.outcomes import Loss
from workers.running import Run


class Roster:
    """Trials that wait for room, that are on the trainer, and that are over while their results are not written yet.

    A trial that may have no more than so many `companions` holds all to it: everyone on the trainer stays within every
    limit. What cannot be started yet waits, held.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self._waiting: dict[str, Run] = {}
        # By the trial's id, which is what the trainer knows.
        self.running: dict[str, Run] = {}
        self.over: list[Run] = []

    @property
    def waiting(self) -> list[Run]:
        """Those that are held and not started, the first claimed first."""
        return list(self._waiting.values())

    @property
    def everyone(self) -> list[Run]:
        """All that are held."""
        return [*self.waiting, *self.running.values(), *self.over]

    def add(self, run: Run) -> None:
        """Let a trial wait for its start."""
        self._waiting[run.claim.token] = run

    def starting(self, room: int) -> Iterator[Run]:
        """Put on the trainer whoever fits, one after the other."""
        limit = self._limit(room)
        for token, run in list(self._waiting.items()):
            least = min(limit, _companions(run))
            # A trial that was lost and claimed again waits until its earlier attempt is off the trainer.
            if len(self.running) < least and run.claim.id not in self.running:
                limit = least
                del self._waiting[token]
                self.running[run.claim.id] = run
                yield run

    def free(self, room: int) -> int:
        """Say how many more could be claimed: none as long as some wait."""
        return 0 if self._waiting else max(0, int(self._limit(room)) - len(self.running))

    def find(self, token: str, trial: str) -> Run | None:
        """Return the run of a claim, on the trainer or over; None when it has been written."""
        run = self.running.get(trial)
        if run is not None and run.claim.token == token:
            return run
        return next((run for run in self.over if run.claim.token == token), None)

    def end(self, run: Run) -> None:
        """Note that a trial on the trainer is over."""
        del self.running[run.claim.id]
        self.over.append(run)

    def turn_away(self, run: Run, why: str) -> None:
        """Note that a trial that waits is not started any more."""
        del self._waiting[run.claim.token]
        run.loss = Loss(None, why)
        self.over.append(run)

    def take_back(self) -> None:
        """Forget what the trainer said of those that are over: they count as being on it still."""
        for run in [run for run in self.over if run.outcome is not None]:
            run.outcome = None
            self.over.remove(run)
            self.running[run.claim.id] = run

    def lose(self, loss_of: Callable[[Run], Loss]) -> None:
        """Note that all on the trainer are over, each in its way."""
        for run in list(self.running.values()):
            run.loss = loss_of(run)
            self.end(run)

    def _limit(self, room: int) -> float:
        return min([room, *(_companions(run) for run in self.running.values())])


def _companions(run: Run) -> float:
    return inf if run.claim.companions is None else run.claim.companions
