"""How methods side by side look: as data, as a table in Markdown, and as a question for the one who draws."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from api.schemas.analysis import MetricOut
from models.ids import show_study
from search.analysis.comparison import Compared, Mean
from search.studies.analysis import ComparisonView

# What is shown in tables and pictures, in this order, where it was reported; the data have all.
SHOWN = {
    "test_accuracy": "test accuracy",
    "test_loss": "test loss",
    "test_mae": "test error",
    "examples_per_second": "examples/s",
    "peak_memory": "peak memory, MB",
    "optimizer_memory": "optimizer's own, MB",
    "steps_to_target": "steps to target",
    "seconds_to_target": "seconds to target",
}


class MeanOut(BaseModel):
    """A mean over runs; the ends of its 95 % interval are null of a single run."""

    mean: float
    low: float | None
    high: float | None
    runs: int


class ComparedOut(BaseModel):
    """One choice at its best configuration."""

    choice: Any
    params: dict[str, Any]
    runs: int
    completed: Annotated[int, Field(description="Runs that completed, over which means are")]
    values: dict[str, MeanOut]
    ratios: Annotated[dict[str, MeanOut], Field(description="Means over the baseline's, where both are positive")]


class ComparisonOut(BaseModel):
    """The choices of one parameter side by side, the best first."""

    study_id: str
    metric: MetricOut
    by: str
    baseline: Any
    data: list[ComparedOut]


def comparison_out(view: ComparisonView) -> ComparisonOut:
    """Show a comparison as data."""
    return ComparisonOut(
        study_id=show_study(view.study_id),
        metric=MetricOut(name=view.metric.name, goal=view.metric.goal),
        by=view.by,
        baseline=view.baseline,
        data=[_compared_out(row) for row in view.rows],
    )


def _compared_out(row: Compared) -> ComparedOut:
    return ComparedOut(
        choice=row.choice,
        params=dict(row.params),
        runs=row.runs,
        completed=row.completed,
        values={name: _mean_out(mean) for name, mean in row.values.items()},
        ratios={name: _mean_out(mean) for name, mean in row.ratios.items()},
    )


def _mean_out(mean: Mean) -> MeanOut:
    return MeanOut(mean=mean.mean, low=mean.low, high=mean.high, runs=mean.runs)


def columns(view: ComparisonView) -> dict[str, str]:
    """Return what is shown of a comparison: names of values with their titles, the optimized metric first."""
    present = {name for row in view.rows for name in row.values}
    return {view.metric.name: view.metric.name} | {name: title for name, title in SHOWN.items() if name in present}


def comparison_table(view: ComparisonView) -> str:
    """Write a comparison as a table in Markdown: means with the reach of their intervals, ratios to the baseline."""
    shown = columns(view)
    head = [view.by, "runs", *shown.values()]
    rows = [
        [str(row.choice), f"{row.completed}/{row.runs}", *(_cell(row, name) for name in shown)] for row in view.rows
    ]
    lines = [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    note = (
        f"Each {view.by} at its best configuration by {view.metric.name}. Means over runs, ± half of the 95 % interval; "
        f"in brackets the ratio to {view.baseline}."
    )
    return "\n".join([f"# {view.name}", "", *lines, "", note, ""])


def _cell(row: Compared, name: str) -> str:
    mean = row.values.get(name)
    if mean is None:
        return "-"
    reach = "" if mean.high is None else f" ± {mean.high - mean.mean:.2g}"
    ratio = row.ratios.get(name)
    beside = "" if ratio is None else f" ({ratio.mean:.3g}x)"
    return f"{mean.mean:.4g}{reach}" + (
        beside if mean.runs == row.completed else f" ({mean.runs} of {row.completed} runs)"
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def comparison_question(view: ComparisonView, *, file_format: str) -> dict[str, object]:
    """Return the question for a picture of a comparison."""
    panels = [
        {"title": title, "rows": [_bar(row, row.values[name]) for row in view.rows if name in row.values]}
        for name, title in columns(view).items()
    ]
    return {
        "ask": "comparison",
        "title": view.name,
        "panels": [each for each in panels if each["rows"]],
        "format": file_format,
    }


def _bar(row: Compared, mean: Mean) -> dict[str, object]:
    return {"label": str(row.choice), "mean": mean.mean, "low": mean.low, "high": mean.high}
