"""What whoever holds a trial says of it: measurements and the attempt's end, in the caller's transaction.

The same for workers (`search.trials.dispatch`) and for clients over HTTP (`search.trials.remote`). Every write is fenced by the lease's
token: what is stale changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from models import endings, leases, trials
from models.endings import Ending, Verdicts
from models.ids import show_trial
from models.session import Connection
from models.states import AttemptState, TrialState
from models.waiting import conclude
from search.definition.parse import StudyDefinition
from search.definition.prunings import promotes
from search.scoring import score, unmeasured, violation
from search.trials import rungs, stopping, waiting
from search.trials.failures import Failure, after

Place = tuple[int, int, int]


class Held(Protocol):
    """A trial and the token that says who holds it; `id` is its public id, `key` is (study, number, attempt)."""

    @property
    def id(self) -> str: ...
    @property
    def study_id(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def token(self) -> str: ...
    @property
    def definition(self) -> StudyDefinition: ...
    @property
    def key(self) -> tuple[int, int, int]: ...


@dataclass(frozen=True, slots=True)
class Holding:
    """An attempt of a trial, and the token that speaks for it."""

    study_id: int
    number: int
    attempt: int
    token: str
    definition: StudyDefinition

    @property
    def id(self) -> str:
        return show_trial(self.study_id, self.number)

    @property
    def key(self) -> tuple[int, int, int]:
        return self.study_id, self.number, self.attempt


@dataclass(frozen=True, slots=True)
class Report:
    """A measurement of a claimed trial."""

    claim: Held
    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a report: `accepted` or not (`reason` says why not), and whether the trial is to stop.

    With `waits` it may go on later: it is to be given back with a checkpoint.
    """

    accepted: bool
    stop: bool
    reason: str | None
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Ran:
    """How an attempt was run.

    `lane` names the lane it was stepped in (None: in none), `population` is the largest number of trials that it was
    stepped with, itself included, or that were lost with it, and `seconds` its share of the time spent on
    steps. `alone` says why it was trained alone although it might have shared.
    """

    lane: str | None
    population: int
    seconds: float
    alone: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt ended: with `outcome` and its last values, or with a `failure`; and how it was `ran`."""

    claim: Held
    target: TrialState
    values: Mapping[str, float] | None = None
    reason: str | None = None
    error: str | None = None
    failure: Failure | None = None
    ran: Ran | None = None


_GO_ON = Verdict(accepted=True, stop=False, reason=None)
_STALE = Verdict(accepted=False, stop=True, reason="stale")
_CONTRADICTS = Verdict(accepted=False, stop=False, reason="another value was reported at this step")


def store(connection: Connection, reports: Sequence[Report]) -> list[Verdict]:
    """Store measurements, in order, and answer each with what pruning decides. Values must be finite."""
    places = leases.held(connection, list({report.claim.token for report in reports}))
    live = [place for place, report in enumerate(reports) if places.get(report.claim.token) == report.claim.key]
    refused = leases.add_measurements(connection, [_row(reports[place]) for place in live])
    stored = [reports[place] for order, place in enumerate(live) if order not in refused]
    decided = rungs.decide(connection, stored)
    verdicts = [_STALE] * len(reports)
    for order, place in enumerate(live):
        verdicts[place] = _CONTRADICTS if order in refused else _verdict(reports[place], decided)
    return verdicts


def _row(report: Report) -> dict[str, Any]:
    return {
        "study_id": report.claim.study_id,
        "number": report.claim.number,
        "attempt": report.claim.attempt,
        "step": report.step,
        "values": dict(report.values),
    }


def _verdict(report: Report, decided: Mapping[Place, str]) -> Verdict:
    why = decided.get((report.claim.study_id, report.claim.number, report.step)) if decided else None
    if why is None:
        return _GO_ON
    return Verdict(accepted=True, stop=True, reason=why, waits=promotes(report.claim.definition.pruning))


def finish(connection: Connection, results: Sequence[Result], *, now: datetime) -> Verdicts:
    """End attempts of one study (at least one). What is repeated stands already; what is stale changed nothing."""
    study_id, definition = results[0].claim.study_id, _definition(results)
    failed = [result.claim.number for result in results if result.failure is not None]
    strikes = trials.count_strikes(connection, study_id, failed)
    ended = waiting.settle(connection, study_id, definition, [_ending(result, strikes, now) for result in results])
    verdicts = endings.end(
        connection,
        study_id,
        ended,
        now=now,
        # Who was to wait has been dealt with.
        prunes=definition.pruning is not None and not promotes(definition.pruning),
        max_failed=definition.max_failed,
    )
    # Of replicates alone it is not known whether trials of the search wait.
    if promotes(definition.pruning) or definition.verdict is not None:
        conclude(connection, study_id, now)
    stopping.after(connection, verdicts, definition, now)
    return verdicts


def _definition(results: Sequence[Result]) -> StudyDefinition:
    """Return the study's definition: replicates are run by one without pruning, trials of the search beside them are not."""
    found = [result.claim.definition for result in results]
    return next((each for each in found if each.pruning is not None), found[0])


def _ending(result: Result, strikes: Mapping[tuple[int, str | None], int], now: datetime) -> Ending:
    ending = _plain_ending(result, strikes, now)
    return ending if result.ran is None else replace(ending, execution=_shown(result.ran))


def _shown(ran: Ran) -> dict[str, Any]:
    return {"lane": ran.lane, "population": ran.population, "seconds": ran.seconds, "alone": ran.alone}


def _plain_ending(result: Result, strikes: Mapping[tuple[int, str | None], int], now: datetime) -> Ending:
    claim, failure = result.claim, result.failure
    if failure is not None:
        before = strikes.get((claim.number, failure.value), 0)
        key = (claim.number, claim.attempt, claim.token)
        return after(failure, *key, now, strikes=before, message=result.reason, error=result.error)
    released = result.target is TrialState.QUEUED
    return Ending(
        number=claim.number,
        attempt=claim.attempt,
        token=claim.token,
        target=result.target,
        values=result.values,
        score=score(claim.definition, result.values),
        violation=violation(claim.definition, result.values),
        reason=_reason(result),
        error=result.error,
        attempt_state=AttemptState.RELEASED if released else AttemptState.ENDED,
    )


def _reason(result: Result) -> str | None:
    """Add to what was said why a completed trial counts as infeasible although it has a result."""
    lacking = unmeasured(result.claim.definition, result.values) if result.target is TrialState.COMPLETED else []
    if not lacking:
        return result.reason
    said = f"no value of {', '.join(map(repr, lacking))}, which is a constraint: it counts as infeasible"
    return said if result.reason is None else f"{result.reason}; {said}"
