"""The worker's side of a study: claim, heartbeat, report, finish, release, each batched in one transaction.

A dispatcher belongs to one worker process and owns its transactions; `search.trials.claiming` does the claiming.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from models import candidates, checkpoints, leases
from models.session import Connection, Database
from models.states import TrialState
from search.clock import Clock, utc_now
from search.trials import reporting
from search.trials.claiming import Claim, Claimer, Wish
from search.trials.reporting import Ran, Report, Result, Verdict

__all__ = ["Claim", "Dispatcher", "Kept", "Ran", "Report", "Result", "Verdict"]


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint of a claimed trial: its file is whole and on disk. `values` are those the trial has by `step`."""

    claim: Claim
    step: int
    path: str
    sha256: str
    size: int
    values: Mapping[str, float] | None


class Dispatcher:
    """One worker's access to the ledger."""

    def __init__(self, database: Database, *, worker: str, clock: Clock = utc_now) -> None:
        """Speak for `worker` (any name unique among workers) in `database`."""
        self.database = database
        self.worker = worker
        self.clock = clock
        self._claimer = Claimer(database, clock=clock)

    def claim(
        self,
        *,
        queue: str,
        capacity: int,
        objectives: Sequence[str] = (),
        study: int | None = None,
        workers: int = 1,
        held: int = 0,
        after: Sequence[int] = (),
    ) -> list[Claim]:
        """Take up to `capacity` trials of one study, parameters and all; an empty list when there is nothing to do.

        `study` asks for trials of that study (its key) alone, of which the caller holds `held` already; `after` names
        those that the caller has left to others, and takes of the first that can give only if no other study has work.
        A claim with room for several leaves the others of `workers` that could run them their share, see `search.trials.sharing`.
        """
        wish = Wish(self.worker, queue, capacity, objectives, study=study, workers=workers, held=held, after=after)
        return self._claimer.claim(wish)

    def others_wait(self, *, queue: str, study: int, objectives: Sequence[str] = ()) -> bool:
        """Say whether another study than this one (its key) has a trial for this queue that could start now."""
        return self.database.read(
            lambda connection: candidates.has_work(
                connection, queue=queue, objectives=objectives, besides=study, now=self.clock()
            )
        )

    def heartbeat(self, claims_held: Sequence[Claim]) -> dict[str, str | None]:
        """Renew leases. Return, by token, why a trial should stop (or None); a token that is missing is stale."""
        tokens = [claim.token for claim in claims_held]
        return self.database.write(lambda connection: leases.beat(connection, tokens), durable=False)

    def report(self, reports: Sequence[Report]) -> list[Verdict]:
        """Store measurements, in order, and answer each with what pruning decides. Values must be finite."""
        return self.database.write(lambda connection: reporting.store(connection, reports))

    def finish(self, results: Sequence[Result]) -> dict[str, str]:
        """End attempts. Return by token: `accepted`, `repeated` (stands already) or `stale` (nothing was changed)."""
        verdicts: dict[str, str] = {}
        ordered = sorted(results, key=lambda result: (result.claim.study_id, result.claim.number))
        for _, group in groupby(ordered, key=lambda result: result.claim.study_id):
            batch = list(group)
            said = self.database.write(partial(reporting.finish, results=batch, now=self.clock()))
            for word in ("accepted", "repeated", "stale"):
                verdicts |= dict.fromkeys(getattr(said, word), word)
        return verdicts

    def keep(self, checkpoint: Kept) -> bool:
        """Record that a checkpoint is on disk; return False when its lease is no longer ours and nothing was written."""
        return self.database.write(lambda connection: self._keep(connection, checkpoint))

    def release(self, held: Sequence[Claim], *, reason: str) -> dict[str, str]:
        """Give trials back to the queue, uncharged: the worker is going away or another study waits."""
        return self.finish([Result(claim, TrialState.QUEUED, reason=reason) for claim in held])

    def _keep(self, connection: Connection, kept: Kept) -> bool:
        claim = kept.claim
        if leases.held(connection, [claim.token]).get(claim.token) != claim.key:
            return False
        row = {
            "study_id": claim.study_id,
            "number": claim.number,
            "attempt": claim.attempt,
            "step": kept.step,
            "path": kept.path,
            "sha256": kept.sha256,
            "size": kept.size,
            "values": dict(kept.values) if kept.values is not None else None,
            "created_at": self.clock(),
        }
        checkpoints.add_checkpoint(connection, row)
        return True
