"""What a worker has to say to the ledger. While the database is away it waits here, in order, and training goes on."""

import logging
import time
from collections.abc import Sequence

from models.session import Unavailable
from models.states import TrialState
from search.trials.dispatch import Claim, Dispatcher, Kept, Report, Result, Verdict
from search.trials.waiting import may_wait
from workers.checkpoints import Shelf
from workers.running import STALE

log = logging.getLogger("tuneup.outbox")

# How many measurements are written in one transaction at most: after a long absence there are many.
_MOST_REPORTS = 5000
_PAUSE_SECONDS = 0.2


class Outbox:
    """Writes reports, checkpoints and results. Nothing here raises Unavailable."""

    def __init__(self, dispatcher: Dispatcher, shelf: Shelf | None) -> None:
        """Write to the dispatcher's ledger; the checkpoints of those that have ended for good leave the shelf."""
        self._dispatcher = dispatcher
        self._shelf = shelf
        self._again_at = 0.0
        self.reports: list[Report] = []

    @property
    def away(self) -> bool:
        """Whether the database was away a moment ago."""
        return time.monotonic() < self._again_at

    def write_reports(self) -> list[tuple[Report, Verdict]]:
        """Write what was reported, in order; return what is written now with its verdicts. What is not stays."""
        answered: list[tuple[Report, Verdict]] = []
        while self.reports:
            batch = self.reports[:_MOST_REPORTS]
            try:
                verdicts = self._dispatcher.report(batch)
            except Unavailable as error:
                self._wait(f"{len(self.reports)} measurements wait", error)
                break
            del self.reports[: len(batch)]
            answered += zip(batch, verdicts, strict=True)
        return answered

    def keep(self, checkpoint: Kept) -> bool | None:
        """Have the ledger know of a checkpoint. Say whether its lease is still ours; None while the database is away."""
        try:
            return self._dispatcher.keep(checkpoint)
        except Unavailable as error:
            self._wait(f"a checkpoint of trial {checkpoint.claim.id} waits", error)
            return None

    def finish(self, ended: Sequence[tuple[Claim, Result]]) -> bool:
        """Write how trials ended, and clear up after those that have ended; return False while the database is away."""
        try:
            verdicts = self._dispatcher.finish([result for _, result in ended])
        except Unavailable as error:
            self._wait(f"the results of {len(ended)} trials wait", error)
            return False
        for claim, _ in ended:
            if verdicts[claim.token] == STALE:
                log.warning("trial %s: another attempt holds it now; this result was refused", claim.id)
        self._clear([(claim, result) for claim, result in ended if verdicts[claim.token] != STALE])
        return True

    def _wait(self, what: str, error: Unavailable) -> None:
        log.warning("%s: %s", what, error)
        self._again_at = time.monotonic() + _PAUSE_SECONDS

    def _clear(self, ended: Sequence[tuple[Claim, Result]]) -> None:
        """Remove the checkpoints of trials that have ended for good; of some only the ledger knows whether they have."""
        if self._shelf is None:
            return
        try:
            final = [
                (claim, _may_run_again(claim, result))
                for claim, result in ended
                if result.target is not TrialState.QUEUED and self._shelf.holds(claim)
            ]
            for claim, again in final:
                if not again:
                    self._shelf.clear(claim)
            for study_id in {claim.study_id for claim, again in final if again}:
                self._shelf.tidy_study(self._dispatcher.database, study_id)
        except (Unavailable, OSError) as error:
            log.warning("the checkpoints of trials that have ended stay for now: %s", error)


def _may_run_again(claim: Claim, result: Result) -> bool:
    """Say whether a trial may wait for another attempt although this result is final: it failed, or is to be promoted."""
    return result.failure is not None or may_wait(claim.definition.pruning, result.target)
