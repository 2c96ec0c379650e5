"""The JSON that the service answers with, as types. A service may send more fields than are named here."""

from typing import Any, NotRequired, TypeAlias, TypedDict

Json: TypeAlias = dict[str, Any]
Params: TypeAlias = dict[str, float | int | str | bool | None]
Values: TypeAlias = dict[str, float]

FINAL_STATES = ("completed", "cancelled", "failed")
TRIAL_STATES = ("queued", "running", "completed", "pruned", "diverged", "failed", "cancelled")
STUDY_STATES = ("running", "paused", *FINAL_STATES)


class ProgressData(TypedDict):
    """Trials by count; `budget` is null while a study has none."""

    allocated: int
    finished: int
    running: int
    budget: int | None


class BestSoFar(TypedDict):
    """The best completed trial: its number and its value of the optimized metric."""

    number: int
    value: float


class StudyData(TypedDict):
    """A study. `seconds` is its budget of time and `gpu_seconds` that of devices, null while it has none.

    `gpu_spent` is what attempts took of devices so far; times are RFC 3339 text.
    """

    id: str
    name: str
    state: str
    reason: str | None
    labels: dict[str, str]
    queue: str
    definition: Json
    reused: NotRequired[bool]
    seed: int
    progress: ProgressData
    counts: dict[str, int]
    parallelism: int | None
    seconds: float | None
    gpu_seconds: float | None
    gpu_spent: float
    seq: int
    best: BestSoFar | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class WorkerData(TypedDict):
    """A worker that gave a sign of life lately."""

    id: str
    host: str
    queue: str
    device: str | None
    capacity: int
    started_at: str
    seen_at: str


class ExecutionData(TypedDict):
    """How a trial was trained: with how many at a time, itself included, and in how many of the trainer's seconds."""

    lane: str | None
    population: int
    seconds: float
    alone: str | None


class TrialData(TypedDict):
    """A trial. A parameter whose condition does not hold is absent from `params`; `violation` 0 keeps the constraints."""

    id: str
    study_id: str
    number: int
    state: str
    params: Params
    values: Values | None
    attempt: int
    origin: str
    why: Json
    reason: str | None
    seq: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    execution: ExecutionData | None
    waiting_step: int | None
    parent: str | None
    violation: float | None


class LeasedTrialData(TrialData):
    """A trial that was given out. Every word about it carries `token`; without one until then it is lost.

    It goes on after `waiting_step`, where it was told to wait, if that is not null, and from where `parent` ended, likewise.
    """

    token: str
    lease_expires_at: str


class AskData(TypedDict):
    """The answer to who asks for trials."""

    client_id: str
    study_state: str
    data: list[LeasedTrialData]


class RenewalData(TypedDict):
    """The answer to measurements: whether to go on, and why not."""

    accepted: bool
    should_stop: bool
    reason: str | None
    lease_expires_at: str


class BestData(TypedDict):
    """The best completed trial, with its parameters and values beside it."""

    trial: TrialData
    params: Params
    values: Values


class MetricData(TypedDict):
    """The metric that an analysis speaks of."""

    name: str
    goal: str


class ImportanceRow(TypedDict):
    """One parameter: its share, and over how many trials in which it was active that was judged."""

    parameter: str
    importance: float
    trials: int


class ImportanceData(TypedDict):
    """The parameters, the most important first; shares sum to 1, or are all 0 where nothing can be told."""

    study_id: str
    method: str
    metric: MetricData
    completed: int
    used: int
    diverged: int
    data: list[ImportanceRow]


class HistoryRow(TypedDict):
    """A finished trial, and the best that any had completed with by then; values as they were reported."""

    number: int
    seq: int
    state: str
    finished_at: str | None
    value: float | None
    best: float | None


class HistoryData(TypedDict):
    """Finished trials in the order of their ends; `total` is how many there are, `data` may be thinned."""

    study_id: str
    metric: MetricData
    total: int
    data: list[HistoryRow]


class SavingsData(TypedDict):
    """What pruning saved. `steps` has run, saved and full; `seconds` run and saved, or is null where nobody counted."""

    study_id: str
    finished: int
    pruned: int
    share: float | None
    steps: dict[str, int | None]
    seconds: dict[str, float] | None


class MeanData(TypedDict):
    """A mean over runs; the ends of its 95 % interval are null of a single run."""

    mean: float
    low: float | None
    high: float | None
    runs: int


class ComparedData(TypedDict):
    """One choice at its best configuration: means by name over runs that completed, and their ratios to the baseline's."""

    choice: Any
    params: Params
    runs: int
    completed: int
    values: dict[str, MeanData]
    ratios: dict[str, MeanData]


class ComparisonData(TypedDict):
    """The choices of one parameter side by side, the best first."""

    study_id: str
    metric: MetricData
    by: str
    baseline: Any
    data: list[ComparedData]


class NoteData(TypedDict):
    """Something that an import did not carry over as it stood, and why."""

    path: str
    message: str


class ImportedData(TypedDict):
    """A definition that can be posted as it is, what it lacks of its source, and the study if it was created."""

    definition: Json
    notes: list[NoteData]
    study: StudyData | None


class ReplayData(TypedDict):
    """A trial's point beside the one derived again; `matches` is null where it was given rather than suggested."""

    id: str
    matches: bool | None
    params: Params
    derived: Params | None
    why: Json
    note: str | None


class ObjectiveData(TypedDict):
    """A metric that is optimized; `goal` is minimize or maximize."""

    name: str
    goal: str


class VolumeData(TypedDict):
    """The hypervolume after a trial and all of lower numbers."""

    number: int
    hypervolume: float


class ParetoData(TypedDict):
    """The completed trials that keep the constraints and that no other beats in every objective."""

    data: list[TrialData]
    objectives: list[ObjectiveData]
    hypervolume: float | None
    reference: Values
    history: list[VolumeData]


class ConfigurationData(TypedDict):
    """A configuration that was run again for the verdict; `trial` is the number of the search's trial, if any."""

    trial: int | None
    params: Params
    values: list[float]
    mean: float | None
    diverged: int
    missing: int


class VerdictData(TypedDict):
    """Whether the winner beats the baseline: `improved`, `not distinguishable` or `worse`."""

    verdict: str
    reason: str
    metric: str
    goal: str
    difference: float | None
    interval: list[float] | None
    confidence: float
    replicates: int
    winner: ConfigurationData | None
    baseline: ConfigurationData
    finalists: list[ConfigurationData]
