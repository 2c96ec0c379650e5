"""The values that strategies, pruners and analysis work on: frozen, without a database in sight."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from search.definition.parse import StudyDefinition

Params: TypeAlias = Mapping[str, Any]
Values: TypeAlias = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A point to try and why.

    `params` holds only the parameters whose condition holds. `grid_index` is set by the grid alone.
    `why` is stored with the trial: for model-based strategies the history cut-off it saw. `parent` is the number of the
    trial from whose checkpoint it goes on; None = it begins anew.
    """

    params: Params
    origin: str  # grid | startup | model | random
    grid_index: int | None = None
    why: Mapping[str, Any] = field(default_factory=dict)
    dedupe_key: str | None = None
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial as stored. `score` is the optimized metric with its sign turned so that lower is better; of several, None.

    `waiting_step` is the last rung at which it was to wait for promotion; queued there, it has the values of that step.
    `curve` holds its scores at rungs by step, where a strategy is told of them.
    `violation` is by how much its values violate the constraints: 0 is feasible, None is no result or not known.
    `parent` is the number of the trial from whose checkpoint it goes on, `draw` the index its point was suggested for.
    `execution` says how the attempt was run that ended it (lane, population, seconds, alone); None where nobody did.
    """

    study_id: int
    number: int
    state: str
    origin: str
    params: Params | None
    values: Values | None
    score: float | None
    reason: str | None
    attempt: int
    seq: int
    queue: str
    grid_index: int | None
    why: Mapping[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    execution: Mapping[str, Any] | None = None
    waiting_step: int | None = None
    violation: float | None = None
    curve: Mapping[int, float] = field(default_factory=dict)
    parent: int | None = None
    draw: int | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One execution of a trial. `error` is what the training process said last, a traceback where it had one.

    `population` is with how many trials, itself included, it shared its trainer, and `seconds` its part of the time that
    was spent on steps; None where that is not known.
    """

    attempt: int
    worker: str
    state: str
    reason: str | None
    error: str | None
    started_at: datetime
    finished_at: datetime | None
    population: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The counters of a study; `running` trials hold a lease."""

    budget: int
    allocated: int
    running: int
    finished: int


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """One study as stored. `definition` is what the user posted, checked, with every default filled in."""

    id: int
    project_id: int
    name: str
    state: str
    definition: StudyDefinition
    labels: Mapping[str, str]
    queue: str
    seed: int
    progress: Progress
    drawn: int
    parallelism: int | None
    seconds: float | None
    gpu_seconds: float | None
    gpu_spent: float
    seq: int
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class StudyView:
    """A study with what is counted from its trials."""

    record: StudyRecord
    counts: Mapping[str, int]
    best: TrialRecord | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a trial reported at one step: finite values by metric name."""

    step: int
    values: Values
