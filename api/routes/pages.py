"""The pages at / and /studies/{id}, and the picture of a study's history. They only read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse

from api.cursors import read_place, write_place
from api.deps import Given
from api.errors import documented
from api.html import PICTURE_HEADERS, PageRoute, page
from api.picture import HistoryPoint, history_svg
from api.routes.studies import Cursor, get_studies
from models.ids import show_study
from models.session import Connection
from models.states import StudyState, TrialState
from models.trials import list_trials, scores
from search.records import StudyView, TrialRecord
from search.space.constraints import Constraint
from search.space.parameters import CategoricalParameter
from search.studies import fronts, views

router = APIRouter(route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse)
api_router = APIRouter(tags=["studies"])

STUDIES_ON_A_PAGE = 50
TRIALS_ON_A_PAGE = 50
FRONT_ON_A_PAGE = 20
ORDER = "best"
OPTIMIZER = "optimizer"
ENDED = frozenset({StudyState.COMPLETED, StudyState.CANCELLED, StudyState.FAILED})

Width = Annotated[int, Query(ge=240, le=2000, description="In pixels")]
Height = Annotated[int, Query(ge=160, le=2000, description="In pixels")]
Seq = Annotated[int | None, Query(ge=0, le=2**53, description="Changes nothing: gives each state its own address")]


class Picture(Response):
    """An SVG document."""

    media_type = "image/svg+xml"


@router.get("/")
def show_studies(given: Given, cursor: Cursor = None) -> HTMLResponse:
    """Show the studies, the newest first."""
    listed = get_studies(given, limit=STUDIES_ON_A_PAGE, cursor=cursor)
    return page("studies.html", studies=listed.data, next=listed.next, cursor=cursor, limit=STUDIES_ON_A_PAGE)


@router.get("/studies/{study_id}")
def show_study_page(given: Given, study_id: str, cursor: Cursor = None) -> HTMLResponse:
    """Show one study: how far it is, the best configuration, the history, and its trials, the best first."""
    after = read_place(cursor, ORDER) if cursor is not None else None

    def work(connection: Connection) -> tuple[StudyView, Sequence[Any], Sequence[TrialRecord]]:
        view = views.view_study(connection, given.project_id, study_id)
        several = view.record.definition.several_objectives
        best = fronts.front(connection, given.project_id, study_id).trials if several else []
        rows = list_trials(connection, view.record.id, limit=TRIALS_ON_A_PAGE + 1, sort=ORDER, after=after)
        return view, rows, best

    view, rows, best = given.database.read(work)
    last = rows[TRIALS_ON_A_PAGE - 1] if len(rows) > TRIALS_ON_A_PAGE else None
    return page(
        "study.html",
        **_study_values(view),
        **_trial_values(view, [views.trial_record(row) for row in rows[:TRIALS_ON_A_PAGE]]),
        front=best[:FRONT_ON_A_PAGE],
        on_front=len(best),
        cursor=cursor,
        next=write_place(ORDER, last.sort_key, last.number) if last is not None else None,
    )


@api_router.get("/studies/{study_id}/history.svg", response_class=Picture, responses=documented(304, 404))
def get_history_picture(
    given: Given, study_id: str, width: Width = 720, height: Height = 320, seq: Seq = None
) -> Picture:
    """Draw what each finished trial reached, and the best so far, as an SVG document."""
    del seq

    metric, goal, points = given.database.read(lambda c: _history(c, given.project_id, study_id))
    drawn = history_svg(points, goal=goal, metric=metric, width=width, height=height)
    return Picture(drawn, headers=PICTURE_HEADERS)


def _history(connection: Connection, project_id: int, study_id: str) -> tuple[str, str, list[HistoryPoint]]:
    """Return what is drawn, its goal and its points: the optimized metric, or of several how their hypervolume grew."""
    row = views.get_study_row(connection, project_id, study_id)
    definition = views.read_definition(row.definition)
    if definition.several_objectives:
        grown = fronts.front(connection, project_id, study_id).found.history
        return "hypervolume", "maximize", [HistoryPoint(*step, TrialState.COMPLETED) for step in grown]
    metric = definition.objectives[0]
    found = scores(connection, row.id)
    # Scores are lower for better; people read the metric.
    points = [
        HistoryPoint(number, metric.sign * score + 0.0, state) for number, state, score in found if score is not None
    ]
    return metric.name, metric.goal, points


def _study_values(view: StudyView) -> dict[str, Any]:
    record = view.record
    return {
        "id": show_study(record.id),
        "study": record,
        "definition": record.definition.model_dump(mode="json"),
        "objectives": record.definition.objectives,
        "thresholds": record.definition.thresholds,
        "counts": [(state.value, view.counts[state]) for state in TrialState if view.counts.get(state)],
        "best": view.best,
        "compared": _compared(view),
        "space": [_parameter(name, p) for name, p in record.definition.model_dump(mode="json")["space"].items()],
        "constraints": [_constraint(given) for given in record.definition.constraints],
        # A study that ended may still wait for the trials that were told to stop.
        "live": record.state not in ENDED or record.progress.running > 0,
    }


def _compared(view: StudyView) -> str | None:
    """Name the parameter whose choices a measured study compares, once a trial has completed; None where there is none."""
    definition = view.record.definition
    choices = [name for name, given in definition.space.items() if isinstance(given, CategoricalParameter)]
    if getattr(definition.objective, "measured", None) is None or not view.counts.get(TrialState.COMPLETED):
        return None
    return OPTIMIZER if OPTIMIZER in choices else next(iter(choices), None)


def _trial_values(view: StudyView, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    definition = view.record.definition
    reported = [name for trial in trials for name in sorted(trial.values or {})]
    return {
        "trials": trials,
        "metrics": _distinct(
            [*(m.name for m in definition.objectives), *(m.name for m in definition.metrics), *reported]
        ),
        "parameters": list(definition.space),
        # Whether any of them was trained in company; else nothing is said of it.
        "together": any(trial.execution is not None and trial.execution["population"] > 1 for trial in trials),
    }


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _constraint(given: Constraint) -> str:
    """Write a constraint as a formula: `0.1 <= warmup + 2 decay <= 1`."""
    parts = [("" if factor == 1 else f"{factor:g} ") + name for name, factor in given.terms.items()]
    low = "" if given.at_least is None else f"{given.at_least:g} <= "
    high = "" if given.at_most is None else f" <= {given.at_most:g}"
    return low + " + ".join(parts) + high


def _derivation(given: Mapping[str, Any]) -> str:
    """Say what a parameter follows from: `base_lr by batch_size / 32`, `base_lr by optimizer: sgd 0.1, adam 0.003`."""
    factors = given.get("factors")
    how = (
        f" / {given['reference']:g}"
        if factors is None
        else f": {', '.join(f'{by} {each:g}' for by, each in factors.items())}"
    )
    return f"{given['of']} by {given['by']}{how}"


def _parameter(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a parameter of the space in the words of its definition."""
    levels = given.get("levels")
    options = given.get("choices") or (levels if isinstance(levels, list) else None)
    if given["type"] == "fixed":
        options = [given["value"]]
    if given["type"] == "derived":
        options = [_derivation(given)]
    notes = [f"step {given['step']}"] if given.get("step") is not None else []
    notes += [f"{levels} levels"] if isinstance(levels, int) else []
    notes += [f"{given['type']}, {given['rule']}"] if given["type"] == "derived" else []
    return {
        "name": name,
        "type": given["type"],
        "options": options,
        "low": given.get("low"),
        "high": given.get("high"),
        "scale": ", ".join([given.get("scale", ""), *notes]).strip(", "),
        "when": given.get("when") or {},
    }
