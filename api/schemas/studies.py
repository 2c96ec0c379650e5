"""How studies look."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from models.ids import show_study
from models.states import StudyState, TrialState
from search.records import StudyView


class ProgressOut(BaseModel):
    """The counters of a study."""

    allocated: int
    finished: int
    running: int
    budget: int


class BestOut(BaseModel):
    """The best completed trial in short: its number and the optimized metric's value."""

    number: int
    value: float


class StudyOut(BaseModel):
    """One study."""

    id: str
    name: str
    state: StudyState
    reason: str | None
    labels: dict[str, str]
    queue: str
    seed: int
    progress: ProgressOut
    counts: Annotated[dict[TrialState, int], Field(description="Trials by state; a state without any is absent")]
    parallelism: int | None
    seconds: float | None
    gpu_seconds: float | None
    gpu_spent: Annotated[float, Field(description="Seconds of devices that its attempts took which have ended")]
    best: BestOut | None
    seq: int
    definition: dict[str, Any]
    reused: Annotated[bool, Field(description="An earlier study, returned to a POST with `reuse`; else false")] = False
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class StudyPage(BaseModel):
    """A page of studies, the newest first."""

    data: list[StudyOut]
    next: str | None


def study_out(view: StudyView, *, reused: bool = False) -> StudyOut:
    """Show a study."""
    record = view.record
    progress = record.progress
    return StudyOut(
        id=show_study(record.id),
        name=record.name,
        state=StudyState(record.state),
        reason=record.reason,
        labels=dict(record.labels),
        queue=record.queue,
        seed=record.seed,
        progress=ProgressOut(
            allocated=progress.allocated, finished=progress.finished, running=progress.running, budget=progress.budget
        ),
        counts={TrialState(state): count for state, count in view.counts.items()},
        parallelism=record.parallelism,
        seconds=record.seconds,
        gpu_seconds=record.gpu_seconds,
        gpu_spent=record.gpu_spent,
        best=_best(view),
        seq=record.seq,
        definition=record.definition.model_dump(mode="json"),
        reused=reused,
        created_at=record.created_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
    )


def _best(view: StudyView) -> BestOut | None:
    values: Mapping[str, float] | None = view.best.values if view.best is not None else None
    if view.best is None or values is None:
        return None
    return BestOut(number=view.best.number, value=values[view.record.definition.objectives[0].name])
