"""Whose fault it is when a trainer dies, or falls silent, with trials on it: judged by who shared it."""

from collections.abc import Callable, Collection

from search.trials.failures import Failure
from workers.outcomes import Loss
from workers.roster import Roster
from workers.running import Run


def blame(roster: Roster, said: str, *, alone: Failure) -> Callable[[Run], Loss]:
    """Return what each trial on the trainer is to bear: nothing, if the trainer never got it and others had it.

    A trial that had the trainer for itself fails as `alone`. Of several nobody knows which one it was: all run again
    in halves until it is plain.
    """
    shared = sum(run.started for run in roster.running.values())
    heard = any(run.outcome is not None for run in roster.over)
    blamed = alone if shared == 1 else Failure.LANE

    def loss(run: Run) -> Loss:
        if run.started:
            return Loss(blamed, said, shared)
        return Loss(None, "released") if shared or heard else Loss(Failure.INFRASTRUCTURE, said)

    return loss


def stuck(running: Collection[Run], silent: float) -> bool:
    """Say whether a trainer that said nothing of anyone for `silent` seconds is stuck.

    It is after as long as one trial may be silent, or half of it.
    """
    limits = [run.claim.definition.timeouts.progress for run in running]
    shortest = min((limit for limit in limits if limit is not None), default=None)
    return shortest is not None and silent >= shortest / 2
