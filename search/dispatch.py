"""The worker's side of a study: claim, heartbeat, report, finish, release, each batched in one transaction.

A dispatcher belongs to one worker process and owns its transactions; `search.claiming` does the claiming.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from models import checkpoints, endings, leases, trials
from models.endings import Ending, Verdicts
from models.session import Connection, Database
from models.states import AttemptState, TrialState
from search import rungs
from search.claiming import Claim, Claimer
from search.clock import Clock, utc_now
from search.failures import Failure, after
from search.scoring import score

__all__ = ["Claim", "Dispatcher", "Kept", "Report", "Result", "Verdict"]


@dataclass(frozen=True, slots=True)
class Report:
    """A measurement of a claimed trial."""

    claim: Claim
    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a report: `accepted` or not (`reason` says why not), and whether the trial is to stop."""

    accepted: bool
    stop: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt ended: with `outcome` and its last values, or with a `failure`."""

    claim: Claim
    target: TrialState
    values: Mapping[str, float] | None = None
    reason: str | None = None
    error: str | None = None
    failure: Failure | None = None


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

    def claim(self, *, queue: str, capacity: int, objectives: Sequence[str] = ()) -> list[Claim]:
        """Take up to `capacity` trials of one study, parameters and all; an empty list when there is nothing to do."""
        return self._claimer.claim(worker=self.worker, queue=queue, capacity=capacity, objectives=objectives)

    def heartbeat(self, claims_held: Sequence[Claim]) -> dict[str, str | None]:
        """Renew leases. Return, by token, why a trial should stop (or None); a token that is missing is stale."""
        tokens = [claim.token for claim in claims_held]
        return self.database.write(lambda connection: leases.beat(connection, tokens), durable=False)

    def report(self, reports: Sequence[Report]) -> list[Verdict]:
        """Store measurements, in order, and answer each with what pruning decides. Values must be finite."""
        return self.database.write(lambda connection: self._report(connection, reports))

    def finish(self, results: Sequence[Result]) -> dict[str, str]:
        """End attempts. Return by token: `accepted`, `repeated` (stands already) or `stale` (nothing was changed)."""
        verdicts: dict[str, str] = {}
        ordered = sorted(results, key=lambda result: (result.claim.study_id, result.claim.number))
        for study_id, group in groupby(ordered, key=lambda result: result.claim.study_id):
            batch = list(group)
            said = self.database.write(partial(self._finish, study_id=study_id, results=batch))
            by_number = {result.claim.number: result.claim.token for result in batch}
            for word in ("accepted", "repeated", "stale"):
                verdicts |= {by_number[number]: word for number in getattr(said, word)}
        return verdicts

    def keep(self, checkpoint: Kept) -> bool:
        """Record that a checkpoint is on disk; return False when its lease is no longer ours and nothing was written."""
        return self.database.write(lambda connection: self._keep(connection, checkpoint))

    def release(self, held: Sequence[Claim], *, reason: str) -> dict[str, str]:
        """Give trials back to the queue, uncharged: the worker is going away or another study waits."""
        return self.finish([Result(claim, TrialState.QUEUED, reason=reason) for claim in held])

    def _report(self, connection: Connection, reports: Sequence[Report]) -> list[Verdict]:
        places = leases.held(connection, list({report.claim.token for report in reports}))
        held = [places.get(report.claim.token) == report.claim.key for report in reports]
        live = [report for report, holds in zip(reports, held, strict=True) if holds]
        conflicts = {_place(row) for row in leases.add_measurements(connection, [_row(report) for report in live])}
        stored = [report for report in live if _place(_row(report)) not in conflicts]
        decided = rungs.decide(connection, stored)
        return [
            _verdict(report, conflicts, decided) if holds else Verdict(accepted=False, stop=True, reason="stale")
            for report, holds in zip(reports, held, strict=True)
        ]

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

    def _finish(self, connection: Connection, study_id: int, results: Sequence[Result]) -> Verdicts:
        definition = results[0].claim.definition
        now = self.clock()
        failed = [result.claim.number for result in results if result.failure is not None]
        strikes = trials.count_strikes(connection, study_id, failed)
        return endings.end(
            connection,
            study_id,
            [self._ending(result, strikes) for result in results],
            now=now,
            prunes=definition.pruning is not None,
            max_failed=definition.max_failed,
        )

    def _ending(self, result: Result, strikes: Mapping[tuple[int, str | None], int]) -> Ending:
        claim, failure = result.claim, result.failure
        if failure is not None:
            before = strikes.get((claim.number, failure.value), 0)
            key = (claim.number, claim.attempt, claim.token)
            return after(failure, *key, self.clock(), strikes=before, message=result.reason, error=result.error)
        released = result.target is TrialState.QUEUED
        return Ending(
            number=claim.number,
            attempt=claim.attempt,
            token=claim.token,
            target=result.target,
            values=result.values,
            score=score(claim.definition, result.values),
            reason=result.reason,
            error=result.error,
            attempt_state=AttemptState.RELEASED if released else AttemptState.ENDED,
        )


def _row(report: Report) -> dict[str, Any]:
    return {
        "study_id": report.claim.study_id,
        "number": report.claim.number,
        "attempt": report.claim.attempt,
        "step": report.step,
        "values": dict(report.values),
    }


def _place(row: Mapping[str, Any]) -> tuple[int, int, int]:
    return row["study_id"], row["number"], row["step"]


def _verdict(
    report: Report,
    conflicts: set[tuple[int, int, int]],
    decided: Mapping[tuple[int, int, int], str],
) -> Verdict:
    place = (report.claim.study_id, report.claim.number, report.step)
    if place in conflicts:
        return Verdict(accepted=False, stop=False, reason="another value was reported at this step")
    return Verdict(accepted=True, stop=place in decided, reason=decided.get(place))
