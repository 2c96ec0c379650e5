"""How trials look."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.ids import show_study, show_trial
from models.states import AttemptState, TrialState
from search.records import AttemptRecord, Measurement, TrialRecord
from search.trials.replaying import Replay


class ExecutionOut(BaseModel):
    """How a trial was trained: with how many at a time, itself included, and in how many of the trainer's seconds.

    `lane` names what they had in common. `alone` says why it was trained by itself, where it might have had company.
    """

    lane: str | None
    population: int
    seconds: float
    alone: str | None


class TrialOut(BaseModel):
    """One trial. `params` is null for the moment between its reservation and its suggestion.

    `violation` is by how much its values violate the study's constraints, 0 if they keep them; null without a result, and
    where a constraint was not measured. `execution` is null until the trial has ended, and where whoever ran it does not
    say. `parent` is the id of the trial from whose checkpoint it goes on, `why` then says between which steps (`begins`,
    `ends`). A trial that is `queued` with a `waiting_step` waits for promotion at that rung, and has its values there.
    """

    id: str
    study_id: str
    number: int
    state: TrialState
    params: dict[str, Any] | None
    values: dict[str, float] | None
    violation: float | None
    attempt: int
    origin: str
    why: dict[str, Any]
    reason: str | None
    seq: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    execution: ExecutionOut | None
    waiting_step: int | None
    parent: str | None


class TrialRow(TrialOut):
    """One trial of a list. With `fields`, it has those alone."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required", None))


class AttemptOut(BaseModel):
    """One execution of a trial, and what it died of where it did.

    `population` trials at most shared its trainer, and `seconds` of the trainer's time were its own; null where not known.
    """

    attempt: int
    worker: str
    state: AttemptState
    reason: str | None
    error: str | None
    started_at: datetime
    finished_at: datetime | None
    population: int | None
    seconds: float | None


class TrialDetail(TrialOut):
    """One trial with its attempts, the first one first."""

    attempts: list[AttemptOut]


class TrialPage(BaseModel):
    """A page of trials."""

    data: list[TrialRow]
    next: str | None


class MeasurementOut(BaseModel):
    """What a trial reported at one step."""

    step: int
    values: dict[str, float]


class MeasurementPage(BaseModel):
    """A trial's measurements by step."""

    data: list[MeasurementOut]
    next: str | None


class BestTrialOut(BaseModel):
    """The best completed trial of a study."""

    trial: TrialOut
    params: dict[str, Any]
    values: dict[str, float]


class ReplayOut(BaseModel):
    """A trial's point beside the one that seed and recorded history lead to.

    `matches` is null where the point was given rather than suggested, and `note` says so.
    """

    id: str
    matches: bool | None
    params: dict[str, Any]
    derived: dict[str, Any] | None
    why: dict[str, Any]
    note: str | None


def trial_out(record: TrialRecord) -> TrialRow:
    """Show a trial."""
    return TrialRow(
        id=show_trial(record.study_id, record.number),
        study_id=show_study(record.study_id),
        number=record.number,
        state=TrialState(record.state),
        params=dict(record.params) if record.params is not None else None,
        values=dict(record.values) if record.values is not None else None,
        violation=record.violation,
        attempt=record.attempt,
        origin=record.origin,
        why=dict(record.why),
        reason=record.reason,
        seq=record.seq,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        execution=ExecutionOut.model_validate(record.execution) if record.execution is not None else None,
        waiting_step=record.waiting_step,
        parent=None if record.parent is None else show_trial(record.study_id, record.parent),
    )


def trial_detail(record: TrialRecord, attempts: Sequence[AttemptRecord]) -> TrialDetail:
    """Show a trial with its attempts."""
    shown = [AttemptOut.model_validate(asdict(attempt)) for attempt in attempts]
    return TrialDetail(**trial_out(record).model_dump(), attempts=shown)


def replay_out(found: Replay) -> ReplayOut:
    """Show a replay."""
    trial = found.trial
    return ReplayOut(
        id=show_trial(trial.study_id, trial.number),
        matches=found.matches,
        params=dict(trial.params or {}),
        derived=dict(found.derived) if found.derived is not None else None,
        why=dict(trial.why),
        note=found.note,
    )


def measurement_out(record: Measurement) -> MeasurementOut:
    """Show a measurement."""
    return MeasurementOut(step=record.step, values=dict(record.values))


def best_out(record: TrialRecord) -> BestTrialOut:
    """Show the best trial, its parameters and values once more at hand."""
    return BestTrialOut(trial=trial_out(record), params=dict(record.params or {}), values=dict(record.values or {}))
