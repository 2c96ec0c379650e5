"""What can be read out of a study's finished trials: importance of parameters, history, savings from pruning."""

from collections.abc import Sequence
from dataclasses import dataclass

from models import analysis
from models.session import Connection, Row
from models.studies import count_states
from search.analysis.comparison import Compared, Ran, compared
from search.analysis.history import HistoryPoint, Outcome, best_so_far, thinned
from search.analysis.savings import Savings, Spent, savings
from search.analysis.table import FEWEST, Observation
from search.definition.metrics import Metric
from search.definition.parse import StudyDefinition
from search.errors import Conflict, Fault, InvalidValue
from search.space.parameters import CategoricalParameter, Parameter
from search.studies.views import get_study_row, read_definition


@dataclass(frozen=True, slots=True)
class Evidence:
    """What importance is judged by: the completed trials that have the metric; scores are lower for better."""

    study_id: int
    metric: Metric
    space: dict[str, Parameter]
    seed: int
    observations: list[Observation]
    diverged: int


@dataclass(frozen=True, slots=True)
class HistoryView:
    """A study's history of one metric, thinned; `total` is how many trials have finished."""

    study_id: int
    metric: Metric
    total: int
    points: list[HistoryPoint]


@dataclass(frozen=True, slots=True)
class ComparisonView:
    """Choices of the parameter `by` side by side, the best by the metric first."""

    study_id: int
    name: str
    metric: Metric
    by: str
    baseline: object
    rows: list[Compared]


def evidence(connection: Connection, project_id: int, text: str, *, metric: str | None) -> Evidence:
    """Read what importance is judged by. Raise Conflict while too few trials have completed."""
    study = get_study_row(connection, project_id, text)
    definition = read_definition(study.definition)
    chosen = _metric(definition, metric)
    rows = analysis.completed_points(connection, study.id)
    pairs = zip(rows, _scores(chosen, rows), strict=True)
    observations = [Observation(row.params or {}, score) for row, score in pairs if score is not None]
    if len(observations) < FEWEST:
        raise Conflict(
            f"importance needs {FEWEST} completed trials with {chosen.name!r}, there are {len(observations)}; "
            "ask again when more have completed"
        )
    diverged = count_states(connection, [study.id])[study.id].get("diverged", 0)
    return Evidence(study.id, chosen, dict(definition.space), study.seed, observations, diverged)


def history(connection: Connection, project_id: int, text: str, *, metric: str | None, points: int) -> HistoryView:
    """Read the best so far over the finished trials, in the order of their ends."""
    study = get_study_row(connection, project_id, text)
    definition = read_definition(study.definition)
    chosen = _metric(definition, metric)
    rows = analysis.finished_trials(connection, study.id)
    outcomes = [
        Outcome(row.number, row.seq, row.state, row.finished_at, score)
        for row, score in zip(rows, _scores(chosen, rows), strict=True)
    ]
    return HistoryView(study.id, chosen, len(rows), thinned(best_so_far(outcomes), points))


def study_savings(connection: Connection, project_id: int, text: str) -> tuple[int, Savings]:
    """Return a study's id and what pruning has saved in it."""
    study = get_study_row(connection, project_id, text)
    steps, seconds = analysis.last_steps(connection, study.id), analysis.device_seconds(connection, study.id)
    trials = [
        Spent(row.state, steps.get(row.number, 0), seconds.get(row.number))
        for row in analysis.finished_trials(connection, study.id)
    ]
    return study.id, savings(trials, last_step=read_definition(study.definition).objective.last_step)


def comparison(connection: Connection, project_id: int, text: str, *, by: str, baseline: str | None) -> ComparisonView:
    """Compare the choices of a parameter over a study's finished trials, with ratios to the choice that reads `baseline`.

    Without one they are to the first choice. Raise InvalidValue for a parameter that has no choices, and for a baseline
    that is none of them.
    """
    study = get_study_row(connection, project_id, text)
    definition = read_definition(study.definition)
    metric, choices = _metric(definition, None), _choices(definition, by)
    base = choices[0] if baseline is None else _choice(choices, by, baseline)
    rows = analysis.finished_points(connection, study.id)
    trials = [
        Ran(row.params or {}, row.state, row.values or {}, score)
        for row, score in zip(rows, _scores(metric, rows), strict=True)
    ]
    return ComparisonView(study.id, study.name, metric, by, base, compared(trials, by=by, baseline=base))


def _choices(definition: StudyDefinition, by: str) -> Sequence[object]:
    parameters = {name: each for name, each in definition.space.items() if isinstance(each, CategoricalParameter)}
    if by not in parameters:
        valid = ", ".join(parameters) or "none"
        raise InvalidValue([Fault("query.by", f"the study has no choices of {by!r} to compare; valid: {valid}")])
    return parameters[by].choices


def _choice(choices: Sequence[object], by: str, text: str) -> object:
    found = next((choice for choice in choices if str(choice) == text), None)
    if found is None:
        valid = ", ".join(map(str, choices))
        raise InvalidValue([Fault("query.baseline", f"{text!r} is no choice of {by}; valid: {valid}")])
    return found


def _metric(definition: StudyDefinition, name: str | None) -> Metric:
    if name is None:
        return next(metric for metric in definition.metrics if metric.role == "optimize")
    found = next((metric for metric in definition.metrics if metric.name == name), None)
    if found is None:
        valid = ", ".join(metric.name for metric in definition.metrics)
        raise InvalidValue([Fault("query.metric", f"the study has no metric of this name; valid are {valid}")])
    return found


def _scores(metric: Metric, rows: Sequence[Row[tuple[object, ...]]]) -> list[float | None]:
    """Return the metric of each trial, lower for better; None where a trial has none."""
    sign = -1.0 if metric.goal == "maximize" else 1.0
    values = [(row.values or {}).get(metric.name) for row in rows]
    return [None if value is None else sign * value for value in values]
