"""How the analysis of a study looks."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from models.ids import show_study
from models.states import TrialState
from search.analysis.history import HistoryPoint
from search.analysis.savings import Savings
from search.analysis.table import Importance
from search.definition.metrics import Metric
from search.studies.analysis import Evidence, HistoryView


class MetricOut(BaseModel):
    """The metric that is spoken of."""

    name: str
    goal: Literal["minimize", "maximize"]


class ImportanceRow(BaseModel):
    """One parameter."""

    parameter: str
    importance: Annotated[float, Field(description="Its share; all sum to 1, or are 0 where nothing can be told")]
    trials: Annotated[int, Field(description="Trials in which it was active, over which it was judged")]


class ImportanceOut(BaseModel):
    """The parameters of a study, the most important first."""

    study_id: str
    method: str
    metric: MetricOut
    completed: Annotated[int, Field(description="Completed trials that have the metric")]
    used: Annotated[int, Field(description="How many of those were looked at: fanova takes a sample")]
    diverged: Annotated[int, Field(description="Trials that diverged; they have no value and are left out")]
    data: list[ImportanceRow]


class HistoryRow(BaseModel):
    """One finished trial and the best up to its end; `value` and `best` are the metric as it was reported."""

    number: int
    seq: int
    state: TrialState
    finished_at: datetime | None
    value: float | None
    best: Annotated[float | None, Field(description="Of completed trials, this one included; null before the first")]


class HistoryOut(BaseModel):
    """Finished trials in the order of their ends."""

    study_id: str
    metric: MetricOut
    total: Annotated[int, Field(description="How many trials have finished; `data` may hold fewer")]
    data: list[HistoryRow]


class StepsOut(BaseModel):
    """Steps of all finished trials."""

    run: int
    saved: int
    full: Annotated[int | None, Field(description="The last step of a trial that is not pruned, where that is known")]


class SecondsOut(BaseModel):
    """Seconds of devices; those saved are reckoned at each pruned trial's own pace."""

    run: float
    saved: float


class SavingsOut(BaseModel):
    """What pruning has saved."""

    study_id: str
    finished: int
    pruned: int
    share: Annotated[float | None, Field(description="Steps saved of all there would have been; null without any")]
    steps: StepsOut
    seconds: Annotated[SecondsOut | None, Field(description="null where whoever ran the trials does not say")]


def importance_out(seen: Evidence, found: Importance, method: str) -> ImportanceOut:
    """Show the importance of a study's parameters."""
    return ImportanceOut(
        study_id=show_study(seen.study_id),
        method=method,
        metric=_metric(seen.metric),
        completed=len(seen.observations),
        used=found.used,
        diverged=seen.diverged,
        data=[
            ImportanceRow(parameter=row.parameter, importance=row.importance, trials=row.trials)
            for row in found.parameters
        ],
    )


def history_out(view: HistoryView) -> HistoryOut:
    """Show a study's history."""
    sign = -1.0 if view.metric.goal == "maximize" else 1.0
    return HistoryOut(
        study_id=show_study(view.study_id),
        metric=_metric(view.metric),
        total=view.total,
        data=[_history_row(point, sign) for point in view.points],
    )


def _history_row(point: HistoryPoint, sign: float) -> HistoryRow:
    outcome = point.outcome
    return HistoryRow(
        number=outcome.number,
        seq=outcome.seq,
        state=TrialState(outcome.state),
        finished_at=outcome.finished_at,
        value=_as_reported(outcome.score, sign),
        best=_as_reported(point.best, sign),
    )


def _as_reported(score: float | None, sign: float) -> float | None:
    return None if score is None else sign * score + 0.0  # no minus before a zero


def savings_out(study_id: int, found: Savings) -> SavingsOut:
    """Show what pruning has saved."""
    seconds = None
    if found.seconds_run is not None and found.seconds_saved is not None:
        seconds = SecondsOut(run=found.seconds_run, saved=found.seconds_saved)
    return SavingsOut(
        study_id=show_study(study_id),
        finished=found.finished,
        pruned=found.pruned,
        share=found.share,
        steps=StepsOut(run=found.steps_run, saved=found.steps_saved, full=found.full_steps),
        seconds=seconds,
    )


def _metric(metric: Metric) -> MetricOut:
    return MetricOut(name=metric.name, goal=metric.goal)
