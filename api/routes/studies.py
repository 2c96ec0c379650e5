"""Studies: create, list, read, change, pause, resume, cancel, delete."""

import unicodedata
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Query, Request, Response

from api.bodies import JsonBody
from api.cursors import foreign_cursor, read_cursor, write_cursor
from api.deps import Given
from api.errors import documented
from api.examples import EDITS, STUDIES
from api.idempotency import IdempotencyKey, Reply, perform
from api.openapi import json_body
from api.schemas.studies import StudyOut, StudyPage, study_out
from api.schemas.trials import BestTrialOut, best_out
from models.ids import new_study_id, read_study, show_study
from models.session import Connection
from models.states import StudyState
from models.studies import list_studies
from search.clock import utc_now
from search.definition.hygiene import LONGEST_STRING, string_problem
from search.errors import Fault, InvalidValue, NotFound
from search.records import StudyRecord
from search.studies import service, views
from search.studies.starting import look_back

router = APIRouter(prefix="/studies", tags=["studies"])

State = Annotated[StudyState | None, Query(description="Only studies in this state")]
Labels = Annotated[
    list[str], Query(max_length=64, description="Only studies with each of these labels, as `name=value` or `name`")
]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next` of the page before")]
Change: TypeAlias = Callable[[Connection], service.Changed]

_LIST = "studies"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@router.post(
    "",
    status_code=201,
    response_model=StudyOut,
    responses=documented(400, 409, 413, 415)
    | {200: {"model": StudyOut, "description": "An earlier study answers this"}},
    openapi_extra=json_body("StudyDefinition", STUDIES),
)
def create_study(request: Request, given: Given, definition: JsonBody, key: IdempotencyKey = None) -> Response:
    """Check a study whole, store it and start it. Every fault is named at once, by field path.

    With `reuse` a completed study that answers the same is returned instead, with 200 and `reused`.
    """
    # Drawn here and not in the unit of work, which may run again after its commit.
    study_id = new_study_id()
    found = look_back(given.database, given.project_id, definition)

    def work(connection: Connection) -> Reply:
        changed = service.create_study(
            connection, given.project_id, definition, now=utc_now(), study_id=study_id, found=found
        )
        reply = study_out(changed.view, reused=changed.reused)
        return Reply(200 if changed.reused else 201, reply, wake=changed.wake)

    return perform(given, request, key, definition, work)


@router.get("", responses=documented(304))
def get_studies(
    given: Given,
    state: State = None,
    label: Labels = [],  # noqa: B006  FastAPI copies it
    limit: Limit = 100,
    cursor: Cursor = None,
) -> StudyPage:
    """List studies, the newest first."""
    before = _read_place(cursor) if cursor is not None else None
    labels = [_read_label(text) for text in label]

    def work(connection: Connection) -> StudyPage:
        rows = list_studies(connection, given.project_id, limit=limit + 1, state=state, labels=labels, before=before)
        page = views.view_studies(connection, rows[:limit])
        following = _write_place(page[-1].record) if len(rows) > limit else None
        return StudyPage(data=[study_out(view) for view in page], next=following)

    return given.database.read(work)


def _read_label(text: str) -> tuple[str, str | None]:
    name, equals, value = unicodedata.normalize("NFC", text).partition("=")
    problem = string_problem(text, LONGEST_STRING) if name else "must be `name=value` or `name`"
    if problem is not None:
        raise InvalidValue([Fault("query.label", problem)])
    return name, value if equals else None


def _write_place(last: StudyRecord) -> str:
    return write_cursor(_LIST, (last.created_at - _EPOCH) // _MICROSECOND, show_study(last.id))


def _read_place(cursor: str) -> tuple[datetime, int]:
    name, at, study = read_cursor(cursor, str, int, str)
    study_id = read_study(study)
    try:
        moment = _EPOCH + at * _MICROSECOND
    except OverflowError:
        raise foreign_cursor() from None
    if name != _LIST or study_id is None:
        raise foreign_cursor()
    return moment, study_id


@router.get("/{study_id}", responses=documented(304, 404))
def get_study(given: Given, study_id: str) -> StudyOut:
    """Read one study."""
    return given.database.read(lambda c: study_out(views.view_study(c, given.project_id, study_id)))


@router.patch(
    "/{study_id}",
    responses=documented(400, 404, 409, 413, 415),
    openapi_extra=json_body("StudyEdits", EDITS),
)
def patch_study(given: Given, study_id: str, edits: JsonBody) -> StudyOut:
    """Change name, labels, budget or parallelism. More budget reopens a completed study.

    Of `budget` the fields given are changed, null takes one away; `labels` replaces all labels.
    """
    changed = given.database.write(lambda c: service.change_study(c, given.project_id, study_id, edits, now=utc_now()))
    if changed.wake is not None:
        given.doorbell.nudge([changed.wake])
    return study_out(changed.view)


@router.delete("/{study_id}", status_code=204, response_class=Response, responses=documented(404, 409))
def delete_study(given: Given, study_id: str) -> None:
    """Remove a study that has ended, with its trials."""
    given.database.read(lambda c: views.get_study_row(c, given.project_id, study_id))

    def work(connection: Connection) -> None:
        # Gone meanwhile: deleted by another, or by ourselves in a commit whose reply was lost.
        with suppress(NotFound):
            service.delete_study(connection, given.project_id, study_id)

    given.database.write(work)


def _changed(change: Change) -> Callable[[Connection], Reply]:
    def work(connection: Connection) -> Reply:
        changed = change(connection)
        return Reply(200, study_out(changed.view), wake=changed.wake)

    return work


@router.post("/{study_id}:pause", response_model=StudyOut, responses=documented(404, 409, 413))
def pause_study(request: Request, given: Given, study_id: str, key: IdempotencyKey = None) -> Response:
    """Start no more trials until resumed; what runs goes on. Pausing a paused study changes nothing."""
    work = _changed(lambda c: service.pause_study(c, given.project_id, study_id, now=utc_now()))
    return perform(given, request, key, None, work)


@router.post("/{study_id}:resume", response_model=StudyOut, responses=documented(404, 409, 413))
def resume_study(request: Request, given: Given, study_id: str, key: IdempotencyKey = None) -> Response:
    """Go on with a paused study. Resuming a running study changes nothing."""
    work = _changed(lambda c: service.resume_study(c, given.project_id, study_id, now=utc_now()))
    return perform(given, request, key, None, work)


@router.post("/{study_id}:cancel", response_model=StudyOut, responses=documented(404, 409, 413))
def cancel_study(request: Request, given: Given, study_id: str, key: IdempotencyKey = None) -> Response:
    """End a study: no trial is started any more, and those that run are told to stop."""
    work = _changed(lambda c: service.cancel_study(c, given.project_id, study_id, now=utc_now()))
    return perform(given, request, key, None, work)


@router.get("/{study_id}/best", responses=documented(304, 404, 409))
def get_best(given: Given, study_id: str) -> BestTrialOut:
    """Read the best completed trial that keeps the constraints; 404 until there is one.

    With several metrics to optimize there is no single one: 409, and `/pareto` shows the best trade-offs.
    """
    return given.database.read(lambda c: best_out(views.best_trial(c, given.project_id, study_id)))
