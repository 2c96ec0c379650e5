"""What a person gives a study to start from, and the verdict that it ends with."""

from fastapi import APIRouter, Request, Response

from api.bodies import JsonBody
from api.deps import Given
from api.errors import documented
from api.examples import GIVEN_TRIALS
from api.idempotency import IdempotencyKey, Reply, perform
from api.openapi import json_body
from api.schemas.enqueueing import GivenTrialsOut, VerdictOut, read_given, verdict_out
from api.schemas.trials import trial_out
from models.session import Connection
from search.clock import utc_now
from search.studies import enqueueing, verdicts

router = APIRouter(prefix="/studies", tags=["studies"])


@router.post(
    "/{study_id}/trials",
    status_code=201,
    response_model=GivenTrialsOut,
    responses=documented(400, 404, 409, 413, 415),
    openapi_extra=json_body("GivenTrialsIn", GIVEN_TRIALS),
)
def add_trials(request: Request, given: Given, study_id: str, body: JsonBody, key: IdempotencyKey = None) -> Response:
    """Give a study points to try, or finished trials to learn from; all are stored or none.

    Points count against the budget. Finished trials cost none: it rises with them, but for a grid, whose points they are.
    """
    trials = read_given(body)

    def work(connection: Connection) -> Reply:
        done = enqueueing.enqueue_trials(connection, given.project_id, study_id, trials, now=utc_now())
        return Reply(201, GivenTrialsOut(data=[trial_out(record) for record in done.trials]), wake=done.wake)

    return perform(given, request, key, body, work)


@router.get("/{study_id}/verdict", responses=documented(304, 404, 409))
def get_verdict(given: Given, study_id: str) -> VerdictOut:
    """Read whether the best configuration beats the baseline; 409 until the study has ended, 404 if it was not asked."""
    return given.database.read(lambda c: verdict_out(verdicts.view_verdict(c, given.project_id, study_id)))
