"""The worker's side of a study: claim, heartbeat, report, finish, release, each batched in one transaction.

A dispatcher belongs to one worker process. It keeps what is costly to rebuild (definitions, strategies with the
history they have read) and owns its transactions; all it knows can be lost at any moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from models import claims, closings, endings, leases, trials
from models.claims import Claimed
from models.endings import Ending, Verdicts
from models.ids import show_trial
from models.ledger import lock_study
from models.session import Connection, Database, Row
from models.states import AttemptState, TrialState
from search import duplicates, rungs
from search.clock import Clock, utc_now
from search.definition import StudyDefinition
from search.failures import Failure, after
from search.records import Suggestion
from search.sampling import derive_seed
from search.scoring import score
from search.strategies.table import Strategy, make
from search.views import read_definition, trial_record


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial to run: what, with which parameters, and the token every write about it must carry."""

    study_id: int
    number: int
    attempt: int
    token: str
    params: Mapping[str, Any]
    definition: StudyDefinition
    seed: int

    @property
    def id(self) -> str:
        """The trial's public id."""
        return show_trial(self.study_id, self.number)

    @property
    def key(self) -> tuple[int, int, int]:
        """The attempt its token speaks for: (study, number, attempt)."""
        return self.study_id, self.number, self.attempt


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


@dataclass(slots=True)
class _Known:
    """What a dispatcher remembers of one study."""

    definition: StudyDefinition
    seed: int
    strategy: Strategy
    seq: int = 0


_MOST_KNOWN = 32


class Dispatcher:
    """One worker's access to the ledger."""

    def __init__(self, database: Database, *, worker: str, clock: Clock = utc_now) -> None:
        """Speak for `worker` (any name unique among workers) in `database`."""
        self.database = database
        self.worker = worker
        self.clock = clock
        self._known: dict[int, _Known] = {}

    def claim(self, *, queue: str, capacity: int) -> list[Claim]:
        """Take up to `capacity` trials of one study, parameters and all; an empty list when there is nothing to do."""
        claimed = self._take_any(queue, capacity)
        ready = [claim for claim in claimed if claim.params is not None]
        waiting = [claim for claim in claimed if claim.params is None]
        return [self._claim(claim, claim.params) for claim in ready if claim.params is not None] + (
            self._suggest(waiting) if waiting else []
        )

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

    def release(self, held: Sequence[Claim], *, reason: str) -> dict[str, str]:
        """Give trials back to the queue, uncharged: the worker is going away or another study waits."""
        return self.finish([Result(claim, TrialState.QUEUED, reason=reason) for claim in held])

    def _take_any(self, queue: str, capacity: int) -> list[Claimed]:
        """Try one study after another, each in a transaction of its own: two row locks held at once could cross."""
        passed: set[int] = set()
        while True:
            study_id, claimed = self.database.write(
                partial(self._take, queue=queue, capacity=capacity, passed=frozenset(passed))
            )
            if claimed or study_id is None:
                return claimed
            passed.add(study_id)

    def _take(
        self, connection: Connection, queue: str, capacity: int, passed: frozenset[int]
    ) -> tuple[int | None, list[Claimed]]:
        """Claim from the first study that may have work and was not passed over yet."""
        now = self.clock()
        study_id = claims.candidate(connection, queue=queue, passed=passed, now=now)
        if study_id is None:
            return None, []
        reservation = claims.reserve(connection, study_id, capacity=capacity, now=now)
        if reservation is None:
            closings.close_if_spent(connection, study_id, now)
            return study_id, []
        points = self._points(self._know(connection, reservation.study), reservation.draws)
        return study_id, claims.take(connection, reservation, points, worker=self.worker, now=now)

    def _know(self, connection: Connection, study: Row[Any]) -> _Known:
        known = self._known.get(study.id)
        if known is None:
            definition = read_definition(claims.stored_definition(connection, study.id))
            known = _Known(definition, study.seed, make(definition, study.seed))
            self._known[study.id] = known
            if len(self._known) > _MOST_KNOWN:
                # The oldest goes; what it knew is read again should its study come up once more.
                del self._known[next(iter(self._known))]
        return known

    def _points(self, known: _Known, draws: range) -> list[dict[str, Any]]:
        """Fill the parameters of strategies without a history now; the others reserve only."""
        if known.strategy.reads_history:
            return [{"params": None, "origin": "model", "why": {}} for _ in draws]
        return [_point(suggestion) for suggestion in known.strategy.suggest(draws)]

    def _suggest(self, waiting: Sequence[Claimed]) -> list[Claim]:
        """Ask a model-based strategy, outside any lock, and write its points under the claims' tokens."""
        study_id = waiting[0].study_id
        known = self._known[study_id]
        self._read_history(study_id, known)
        suggestions: list[Suggestion] = []
        ordered = sorted(waiting, key=lambda claim: claim.draw or 0)
        for draws in _runs([claim.draw for claim in ordered if claim.draw is not None]):
            suggestions += known.strategy.suggest(draws)
        return self.database.write(lambda connection: self._fill(connection, study_id, known, ordered, suggestions))

    def _read_history(self, study_id: int, known: _Known) -> None:
        rows = self.database.read(lambda connection: trials.changed_trials(connection, study_id, known.seq))
        known.strategy.update([trial_record(row) for row in rows])
        known.seq = max([known.seq, *(row.seq for row in rows)])

    def _fill(
        self,
        connection: Connection,
        study_id: int,
        known: _Known,
        waiting: Sequence[Claimed],
        suggestions: Sequence[Suggestion],
    ) -> list[Claim]:
        study = lock_study(connection, study_id)
        if study is None:
            return []
        distinct = duplicates.settle(connection, study_id, known.definition, known.seed, waiting, suggestions)
        points = {claim.token: _point(s) for claim, s in zip(waiting, distinct, strict=True)}
        filled = claims.fill(connection, study, [(claim, points[claim.token]) for claim in waiting])
        return [self._claim(claim, claim.params) for claim in filled if claim.params is not None]

    def _claim(self, claimed: Claimed, params: Mapping[str, Any]) -> Claim:
        known = self._known[claimed.study_id]
        return Claim(
            study_id=claimed.study_id,
            number=claimed.number,
            attempt=claimed.attempt,
            token=claimed.token,
            params=params,
            definition=known.definition,
            seed=derive_seed(known.seed, claimed.number),
        )

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


def _point(suggestion: Suggestion) -> dict[str, Any]:
    return {
        "params": dict(suggestion.params),
        "origin": suggestion.origin,
        "grid_index": suggestion.grid_index,
        "dedupe_key": suggestion.dedupe_key,
        "why": dict(suggestion.why),
    }


def _runs(draws: Sequence[int]) -> list[range]:
    """Split sorted draw indices into unbroken runs."""
    runs: list[range] = []
    for draw in draws:
        if runs and runs[-1].stop == draw:
            runs[-1] = range(runs[-1].start, draw + 1)
        else:
            runs.append(range(draw, draw + 1))
    return runs


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
