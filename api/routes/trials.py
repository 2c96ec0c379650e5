"""Trials of a study, one trial, and its measurements."""

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic.main import IncEx

from api.cursors import read_place, write_place
from api.deps import Given
from api.errors import documented
from api.routes.studies import Cursor, Limit
from api.schemas.trials import (
    MeasurementPage,
    ReplayOut,
    TrialDetail,
    TrialOut,
    TrialPage,
    measurement_out,
    replay_out,
    trial_detail,
    trial_out,
)
from models.session import Connection
from models.states import TrialState
from models.trials import list_trials
from search.errors import Fault, InvalidValue
from search.studies import views
from search.trials import replaying

router = APIRouter(tags=["trials"])

Sort = Literal["number", "-number", "best", "-best"]
States = Annotated[list[TrialState], Query(description="Only trials in these states")]
Fields = Annotated[str | None, Query(max_length=512, description="Names of fields, with commas: only these are sent")]
Since = Annotated[int | None, Query(ge=0, le=2**53, description="Only trials changed after this `seq`, in that order")]


@router.get("/studies/{study_id}/trials", response_model=TrialPage, responses=documented(304, 404))
def get_trials(
    given: Given,
    study_id: str,
    state: States = [],  # noqa: B006  FastAPI copies it
    sort: Sort = "number",
    fields: Fields = None,
    since: Since = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List a study's trials. With `since` they come in the order of their changes, whatever `sort` says."""
    order = "seq" if since is not None else sort
    after = read_place(cursor, order) if cursor is not None else None
    wanted = _wanted(fields)

    def work(connection: Connection) -> TrialPage:
        study = views.get_study_row(connection, given.project_id, study_id)
        rows = list_trials(connection, study.id, limit=limit + 1, sort=order, states=state, since=since, after=after)
        shown = [trial_out(views.trial_record(row)) for row in rows[:limit]]
        last = rows[limit - 1] if len(rows) > limit else None
        return TrialPage(data=shown, next=write_place(order, last.sort_key, last.number) if last is not None else None)

    page = given.database.read(work)
    return Response(page.model_dump_json(include=_included(wanted)), media_type="application/json")


def _wanted(fields: str | None) -> set[str] | None:
    if fields is None:
        return None
    names = {name.strip() for name in fields.split(",") if name.strip()}
    strange = sorted(names - TrialOut.model_fields.keys())
    if strange or not names:
        valid = ", ".join(TrialOut.model_fields)
        raise InvalidValue(
            [Fault("query.fields", f"no such field: {', '.join(strange) or '(none)'}; valid are {valid}")]
        )
    return names


def _included(wanted: set[str] | None) -> IncEx | None:
    if wanted is None:
        return None
    rows: Mapping[str, IncEx | bool] = {"__all__": wanted}
    page: Mapping[str, IncEx | bool] = {"data": rows, "next": True}
    return page


@router.get("/trials/{trial_id}", responses=documented(304, 404))
def get_trial(given: Given, trial_id: str) -> TrialDetail:
    """Read one trial with its attempts, and what each died of where it did."""

    def work(connection: Connection) -> TrialDetail:
        trial = views.get_trial(connection, given.project_id, trial_id)
        return trial_detail(trial, views.attempts(connection, trial))

    return given.database.read(work)


@router.get("/trials/{trial_id}/measurements", responses=documented(304, 404))
def get_measurements(
    given: Given,
    trial_id: str,
    points: Annotated[int | None, Query(ge=1, le=10_000, description="Thin out to at most so many")] = None,
) -> MeasurementPage:
    """Read what a trial reported, by step."""

    def work(connection: Connection) -> MeasurementPage:
        trial = views.get_trial(connection, given.project_id, trial_id)
        found = views.measurements(connection, trial, points)
        return MeasurementPage(data=[measurement_out(measurement) for measurement in found], next=None)

    return given.database.read(work)


@router.get("/trials/{trial_id}/replay", responses=documented(304, 404, 409))
def get_replay(given: Given, trial_id: str) -> ReplayOut:
    """Derive a trial's point again: from seed and draw, and for a model from the history up to the recorded cut-off."""
    return replay_out(replaying.replay(given.database, given.project_id, trial_id))
