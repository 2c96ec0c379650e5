"""Trials run by clients: ask for some, report what they measure, tell what came out, or give them back.

Whoever asks holds a trial by its token until it is told, given back, or silent for a whole lease.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Request, Response

from api.bodies import JsonBody, OptionalJsonBody
from api.deps import Given, Services
from api.errors import documented
from api.examples import ASKS, MEASUREMENTS, RELEASES, TELLS
from api.idempotency import Finish, IdempotencyKey, Reply, perform, perform_in_two
from api.openapi import json_body
from api.schemas.remote import (
    AskOut,
    RenewalOut,
    ask_out,
    expiry,
    read_ask,
    read_measurements,
    read_release,
    read_tell,
)
from api.schemas.trials import TrialOut, trial_out
from models.claims import Claimed
from models.session import Connection
from search.clock import utc_now
from search.trials import asking, remote

router = APIRouter(tags=["remote trials"])


@router.post(
    "/studies/{study_id}/trials:ask",
    response_model=AskOut,
    responses=documented(400, 404, 409, 413, 415),
    openapi_extra=json_body("AskIn", ASKS, required=False),
)
def ask_trials(
    request: Request, given: Given, study_id: str, body: OptionalJsonBody, key: IdempotencyKey = None
) -> Response:
    """Take trials to run, with their parameters and tokens. The same client gets first what it holds already.

    An empty list means that there is nothing to do now; `study_state` says whether there may be later.
    """
    ask = read_ask(body, _made_up(given, key))

    def offer(connection: Connection, claimed: list[Claimed]) -> Reply:
        found = asking.offer(connection, given.project_id, study_id, claimed)
        return Reply(200, ask_out(ask.client, found, now=utc_now(), lease_seconds=given.lease_seconds))

    def begin(connection: Connection) -> Reply | list[Claimed]:
        claimed = asking.take(connection, given.project_id, study_id, ask, given.claimer)
        return claimed if any(claim.params is None for claim in claimed) else offer(connection, claimed)

    @contextmanager
    def suggest(claimed: list[Claimed]) -> Iterator[Finish]:
        waiting = [claim for claim in claimed if claim.params is None]
        ready = [claim for claim in claimed if claim.params is not None]
        with given.claimer.suggesting(claimed[0].study_id, waiting) as fill:
            yield lambda connection: offer(connection, ready + fill(connection))

    return perform_in_two(given, request, key, body, begin, suggest)


def _made_up(services: Services, key: str | None) -> str:
    """Name a client that gave no name: after its key, so that the same request again finds what it took."""
    if key is None:
        return secrets.token_hex(16)
    return hashlib.sha256(f"{services.project_id} {key}".encode()).hexdigest()[:32]


@router.post(
    "/trials/{trial_id}/measurements",
    response_model=RenewalOut,
    responses=documented(400, 404, 409, 413, 415),
    openapi_extra=json_body("MeasurementsIn", MEASUREMENTS),
)
def add_measurements(
    request: Request, given: Given, trial_id: str, body: JsonBody, key: IdempotencyKey = None
) -> Response:
    """Store what a trial measured, all of it or nothing, renew its lease, and hear whether it is to stop."""
    token, measurements = read_measurements(body)

    def work(connection: Connection) -> Reply:
        done = remote.measure(connection, given.project_id, trial_id, token, measurements)
        until = expiry(done.seconds, now=utc_now(), lease_seconds=given.lease_seconds)
        stop = done.reason is not None
        return Reply(200, RenewalOut(accepted=True, should_stop=stop, reason=done.reason, lease_expires_at=until))

    return perform(given, request, key, body, work)


@router.post(
    "/trials/{trial_id}:tell",
    response_model=TrialOut,
    responses=documented(400, 404, 409, 413, 415),
    openapi_extra=json_body("TellIn", TELLS),
)
def tell_trial(request: Request, given: Given, trial_id: str, body: JsonBody, key: IdempotencyKey = None) -> Response:
    """End a trial with its result. The same again changes nothing, another result is refused."""
    said = read_tell(body)

    def work(connection: Connection) -> Reply:
        return Reply(200, trial_out(remote.tell(connection, given.project_id, trial_id, said, now=utc_now())))

    return perform(given, request, key, body, work)


@router.post(
    "/trials/{trial_id}:release",
    response_model=TrialOut,
    responses=documented(400, 404, 409, 413, 415),
    openapi_extra=json_body("ReleaseIn", RELEASES),
)
def release_trial(
    request: Request, given: Given, trial_id: str, body: JsonBody, key: IdempotencyKey = None
) -> Response:
    """Give a trial back: it waits to be run again, by anybody, and nothing is held against it."""
    token, reason = read_release(body)

    def work(connection: Connection) -> Reply:
        changed = remote.release(connection, given.project_id, trial_id, token, reason, now=utc_now())
        return Reply(200, trial_out(changed.trial), wake=changed.wake)

    return perform(given, request, key, body, work)
