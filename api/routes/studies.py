"""Studies: create, list, read, change, pause, resume, cancel, delete."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response

from api.cursors import read_cursor, write_cursor
from api.deps import Given, Services
from api.errors import documented
from api.examples import EDITS, STUDIES
from api.idempotency import IdempotencyKey, Reply, perform
from api.schemas.studies import StudyOut, StudyPage, study_out
from api.schemas.trials import BestTrialOut, best_out
from models.session import Connection
from models.states import StudyState
from models.studies import list_studies
from search import service, views
from search.clock import utc_now
from search.errors import Fault, InvalidValue

router = APIRouter(prefix="/studies", tags=["studies"])

Definition = Annotated[Any, Body(openapi_examples=STUDIES)]
Edits = Annotated[Any, Body(openapi_examples=EDITS)]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next` of the page before")]


@router.post("", status_code=201, response_model=StudyOut, responses=documented(400, 409, 413))
def create_study(request: Request, given: Given, definition: Definition, key: IdempotencyKey = None) -> Response:
    """Check a study whole, store it and start it. Every fault is named at once, by field path."""

    def work(connection: Connection) -> Reply:
        made = service.create_study(connection, given.project_id, definition, now=utc_now())
        return Reply(201, study_out(made.view), wake=made.wake)

    return perform(given, request, key, definition, work)


@router.get("", responses=documented(304))
def get_studies(given: Given, state: StudyState | None = None, limit: Limit = 100, cursor: Cursor = None) -> StudyPage:
    """List studies, the newest first."""
    before = _before(cursor) if cursor is not None else None

    def work(connection: Connection) -> StudyPage:
        rows = list_studies(connection, given.project_id, limit=limit + 1, state=state, before=before)
        page = views.view_studies(connection, rows[:limit])
        last = page[-1].record if len(rows) > limit else None
        following = write_cursor(last.created_at.isoformat(), str(last.id)) if last is not None else None
        return StudyPage(data=[study_out(view) for view in page], next=following)

    return given.database.read(work)


def _before(cursor: str) -> tuple[datetime, int]:
    at, study_id = read_cursor(cursor, str, str)
    try:
        return datetime.fromisoformat(at), int(study_id)
    except ValueError:
        raise InvalidValue([Fault("query.cursor", "is not a cursor of this list; start again without one")]) from None


@router.get("/{study_id}", responses=documented(304, 404))
def get_study(given: Given, study_id: str) -> StudyOut:
    """Read one study."""
    return given.database.read(lambda c: study_out(views.view_study(c, given.project_id, study_id)))


@router.patch("/{study_id}", responses=documented(400, 404, 409, 413))
def patch_study(given: Given, study_id: str, edits: Edits) -> StudyOut:
    """Change name, labels, budget or parallelism. More budget reopens a completed study."""
    changed = given.database.write(lambda c: service.change_study(c, given.project_id, study_id, edits, now=utc_now()))
    return _answer(given, changed)


@router.delete("/{study_id}", status_code=204, response_class=Response, responses=documented(404, 409))
def delete_study(given: Given, study_id: str) -> None:
    """Remove a study that has ended, with its trials."""
    given.database.write(lambda c: service.delete_study(c, given.project_id, study_id))


@router.post("/{study_id}:pause", responses=documented(404, 409))
def pause_study(given: Given, study_id: str) -> StudyOut:
    """Start no more trials until resumed; what runs goes on."""
    changed = given.database.write(lambda c: service.pause_study(c, given.project_id, study_id, now=utc_now()))
    return _answer(given, changed)


@router.post("/{study_id}:resume", responses=documented(404, 409))
def resume_study(given: Given, study_id: str) -> StudyOut:
    """Go on with a paused study."""
    changed = given.database.write(lambda c: service.resume_study(c, given.project_id, study_id, now=utc_now()))
    return _answer(given, changed)


@router.post("/{study_id}:cancel", responses=documented(404, 409))
def cancel_study(given: Given, study_id: str) -> StudyOut:
    """End a study: no trial is started any more, and those that run are told to stop."""
    changed = given.database.write(lambda c: service.cancel_study(c, given.project_id, study_id, now=utc_now()))
    return _answer(given, changed)


@router.get("/{study_id}/best", responses=documented(304, 404))
def get_best(given: Given, study_id: str) -> BestTrialOut:
    """Read the best completed trial."""
    return given.database.read(lambda c: best_out(views.best_trial(c, given.project_id, study_id)))


def _answer(given: Services, changed: service.Changed) -> StudyOut:
    if changed.wake is not None:
        given.doorbell.nudge([changed.wake])
    return study_out(changed.view)
