"""What a client over HTTP says of a trial it holds: measurements, its result, or that it gives it back.

Each is one unit of work on a connection and fenced by the token that came with the trial. What is refused changes
nothing, and says which field is to blame and what to do.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import claims, leases, rungs, trials
from models.ids import show_study, show_trial
from models.session import Connection, Row
from models.states import FINAL_TRIAL_STATES, TrialState
from search.definition.parse import StudyDefinition
from search.errors import Conflict, Fault, InvalidValue
from search.records import Measurement, TrialRecord
from search.scoring import chosen, missing, unmeasured
from search.studies.interventions import ChangedTrial, changed, locked
from search.studies.views import get_trial, read_definition, trial_record
from search.trials import reporting
from search.trials.failures import Failure
from search.trials.replicates import running_definition
from search.trials.reporting import Holding, Report, Result

_RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Tell:
    """A result: `completed` with values (None: those of its measurements), `diverged`, or `failed` with the reason."""

    token: str
    state: TrialState
    values: Mapping[str, float] | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """A lease that goes on: why its trial is to stop (None: it is not), and the lease's own length."""

    reason: str | None
    seconds: float | None


def measure(
    connection: Connection, project_id: int, text: str, token: str, measurements: Sequence[Measurement]
) -> Renewal:
    """Store measurements, all or none, and renew the lease. Values must be finite.

    The same again is accepted; Conflict is raised for another value at a step, and for a token that holds the trial
    no more.
    """
    trial = get_trial(connection, project_id, text)
    lease = next(iter(leases.lock_leases(connection, [token])), None)
    if lease is None or (lease.study_id, lease.number) != (trial.study_id, trial.number):
        # Looked at again: it may have changed while the lease's lock was waited for.
        now = get_trial(connection, project_id, text)
        raise _refusal(now, trials.attempt_of(connection, now.study_id, now.number, token))
    holding = Holding(
        lease.study_id,
        lease.number,
        lease.attempt,
        token,
        running_definition(read_definition(claims.study_of(connection, trial.study_id).definition), trial.origin),
    )
    reports = [Report(holding, measurement.step, measurement.values) for measurement in measurements]
    verdicts = reporting.store(connection, reports)
    for place, verdict in enumerate(verdicts):
        if not verdict.accepted:
            raise _contradiction(connection, holding, place, reports[place])
    asked = leases.beat(connection, [token])[token]
    return Renewal(asked or _pruned(connection, holding), lease.seconds)


def _pruned(connection: Connection, holding: Holding) -> str | None:
    """Return the decision that stands against the trial, from these measurements or from earlier ones."""
    if holding.definition.pruning is None:
        return None
    return rungs.stops(connection, holding.study_id, [holding.number]).get(holding.number)


def tell(connection: Connection, project_id: int, text: str, said: Tell, *, now: datetime) -> TrialRecord:
    """End a trial with a result; one against which a stop decision stands becomes pruned although it completed.

    One that is cancelled, by itself or with its study, becomes cancelled whatever is told.

    The same again changes nothing. Raise InvalidValue for values that cannot be a result, and Conflict when another
    result stands or the token holds the trial no more.
    """
    study, trial = locked(connection, project_id, text)
    holding = _holding(connection, study, trial, said.token)
    if trial.state == TrialState.CANCELLED:
        return trial_record(trial)
    if leases.why_stop(connection, [said.token]).get(said.token) is not None:
        # It was told to stop, or would have been: what it had by then is no result.
        reporting.finish(connection, [Result(holding, TrialState.QUEUED)], now=now)
        return get_trial(connection, project_id, text)
    values = _values(connection, holding, said)
    if trial.state == TrialState.RUNNING:
        _check(holding.definition, said, values)
    done = reporting.finish(connection, [_result(holding, said, values)], now=now)
    if done.stale:
        same = trial.state in {said.state, TrialState.PRUNED}
        raise _refusal(trial_record(trial), holding.attempt, field="values" if same else "state")
    return get_trial(connection, project_id, text)


def release(
    connection: Connection, project_id: int, text: str, token: str, reason: str | None, *, now: datetime
) -> ChangedTrial:
    """Give a trial back, uncharged: it waits to be run again, or is cancelled where nothing is run any more.

    The same again changes nothing. Raise Conflict when the token holds the trial no more.
    """
    study, trial = locked(connection, project_id, text)
    holding = _holding(connection, study, trial, token)
    done = reporting.finish(connection, [Result(holding, TrialState.QUEUED, reason=reason or _RELEASED)], now=now)
    if done.stale and trial.state != TrialState.CANCELLED:
        raise _refusal(trial_record(trial), holding.attempt)
    return changed(connection, project_id, text)


def _holding(connection: Connection, study: Row[Any], trial: Row[Any], token: str) -> Holding:
    """Return the trial's latest attempt if this token was given for it. Raise Conflict."""
    attempt = trials.attempt_of(connection, study.id, trial.number, token)
    if attempt is None or attempt != trial.attempt:
        raise _refusal(trial_record(trial), attempt)
    definition = running_definition(read_definition(study.definition), trial.origin)
    return Holding(study.id, trial.number, attempt, token, definition)


def _values(connection: Connection, holding: Holding, said: Tell) -> Mapping[str, float] | None:
    if said.values is not None or said.state != TrialState.COMPLETED:
        return said.values
    kept: Mapping[str, float] | None = None
    for row in trials.reported(connection, *holding.key):
        kept = chosen(holding.definition, kept, row.values)
    return kept


def _check(definition: StudyDefinition, said: Tell, values: Mapping[str, float] | None) -> None:
    """Raise InvalidValue for values that cannot be those of a trial in this state."""
    if said.state != TrialState.COMPLETED:
        if values is not None:
            raise InvalidValue([Fault("values", f"a {said.state} trial has none; leave them out")])
    elif values is None:
        names = ", ".join(metric.name for metric in (*definition.objectives, *definition.thresholds))
        raise InvalidValue([Fault("values", f"is required with {names}: this attempt has reported no measurement")])
    else:
        needed = dict.fromkeys(missing(definition, values), "a metric that the study optimizes")
        needed |= dict.fromkeys(unmeasured(definition, values), "a constraint of the study")
        if needed:
            raise InvalidValue([Fault(f"values.{name}", f"is required: it is {what}") for name, what in needed.items()])


def _result(holding: Holding, said: Tell, values: Mapping[str, float] | None) -> Result:
    lines = [line for line in (said.reason or "").splitlines() if line.strip()]
    return Result(
        holding,
        said.state,
        values=values,
        # Of a traceback the last line says what happened.
        reason=lines[-1].strip() if lines else None,
        error=said.reason,
        failure=Failure.USER_ERROR if said.state == TrialState.FAILED else None,
    )


def _contradiction(connection: Connection, holding: Holding, place: int, report: Report) -> Conflict:
    stands = {row.step: row.values for row in trials.reported(connection, *holding.key)}[report.step]
    message = f"step {report.step} has {_shown(stands)} already; send that, or another step"
    return Conflict(
        "another value stands; nothing of this request was stored", [Fault(f"measurements[{place}]", message)]
    )


def _refusal(trial: TrialRecord, attempt: int | None, *, field: str = "token") -> Conflict:
    """Say why a write is refused that names the token of this attempt (None: of none of the trial's).

    `field` is to blame where that attempt itself has ended the trial.
    """
    ask = f"POST /v1/studies/{show_study(trial.study_id)}/trials:ask gives out trials with their tokens"
    if attempt is None:
        fault = Fault("token", f"was never given for trial {show_trial(trial.study_id, trial.number)}; {ask}")
        return Conflict("the token does not fit the trial; nothing was changed", [fault])
    if trial.state in FINAL_TRIAL_STATES and attempt == trial.attempt:
        shown = f" with {_shown(trial.values)}" if trial.values is not None else ""
        fault = Fault(field, f"the trial is {trial.state}{shown}, which stands; {ask}")
        return Conflict(f"the trial has ended: it is {trial.state}; nothing was changed", [fault])
    fault = Fault("token", f"is of attempt {attempt}, which no longer holds the trial: {_whose(trial, attempt)}; {ask}")
    return Conflict("the token is stale; nothing was changed", [fault])


def _whose(trial: TrialRecord, attempt: int) -> str:
    if trial.state == TrialState.RUNNING:
        return f"attempt {trial.attempt} runs it now"
    if trial.state == TrialState.QUEUED:
        return f"it waits for attempt {trial.attempt + 1}"
    return f"attempt {trial.attempt} ended it as {trial.state}" if attempt != trial.attempt else f"it is {trial.state}"


def _shown(values: Mapping[str, float]) -> str:
    return json.dumps(dict(values), ensure_ascii=True)
