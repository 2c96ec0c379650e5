"""Searches of other systems as studies."""

from fastapi import APIRouter, Request, Response

from api.bodies import JsonBody
from api.deps import Given
from api.errors import documented
from api.examples import IMPORTS
from api.idempotency import IdempotencyKey, Reply, perform
from api.openapi import json_body
from api.schemas.importing import ImportOut, import_out, read_import
from models.ids import new_study_id
from models.session import Connection
from search.clock import utc_now
from search.importing.formats import translate
from search.studies import service
from search.studies.starting import look_back

router = APIRouter(tags=["studies"])


@router.post(
    "/studies:import",
    response_model=ImportOut,
    responses={201: {"model": ImportOut, "description": "The study was created"}, **documented(400, 409, 413, 415)},
    openapi_extra=json_body("ImportIn", IMPORTS),
)
def import_study(request: Request, given: Given, body: JsonBody, key: IdempotencyKey = None) -> Response:
    """Make a definition of an Optuna or W&B search, with notes on all that is not in it; create it only if asked to."""
    asked = read_import(body)
    found = translate(asked.format, asked.source, asked.study)
    study_id = new_study_id()
    points = look_back(given.database, given.project_id, found.definition) if asked.create else None

    def work(connection: Connection) -> Reply:
        if not asked.create:
            return Reply(200, import_out(found, None))
        changed = service.create_study(
            connection, given.project_id, found.definition, now=utc_now(), study_id=study_id, found=points
        )
        return Reply(201, import_out(found, changed.view), wake=changed.wake)

    return perform(given, request, key, body, work)
