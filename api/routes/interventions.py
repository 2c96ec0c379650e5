"""What a person does to one trial: retry it, cancel it."""

from fastapi import APIRouter, Request, Response

from api.deps import Given
from api.errors import documented
from api.idempotency import IdempotencyKey, Reply, perform
from api.schemas.trials import TrialOut, trial_out
from models.session import Connection
from search.clock import utc_now
from search.studies import interventions

router = APIRouter(prefix="/trials", tags=["trials"])


@router.post("/{trial_id}:retry", response_model=TrialOut, responses=documented(404, 409, 413))
def retry_trial(request: Request, given: Given, trial_id: str, key: IdempotencyKey = None) -> Response:
    """Queue a failed trial again, as its next attempt; a study that had ended goes on."""

    def work(connection: Connection) -> Reply:
        changed = interventions.retry_trial(connection, given.project_id, trial_id, now=utc_now())
        return Reply(200, trial_out(changed.trial), wake=changed.wake)

    return perform(given, request, key, None, work)


@router.post("/{trial_id}:cancel", response_model=TrialOut, responses=documented(404, 409, 413))
def cancel_trial(request: Request, given: Given, trial_id: str, key: IdempotencyKey = None) -> Response:
    """Cancel a trial that waits; whoever runs one is told to stop, and until then it is shown as running."""

    def work(connection: Connection) -> Reply:
        return Reply(200, trial_out(interventions.cancel_trial(connection, given.project_id, trial_id, now=utc_now())))

    return perform(given, request, key, None, work)
