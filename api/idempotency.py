"""POSTs that may be sent again: the reply is stored under the Idempotency-Key, in the transaction of the work."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Header, Request, Response
from pydantic import BaseModel

from api.deps import Services
from models import idempotency
from models.session import Connection
from search.clock import utc_now

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Any word of your own, such as a UUID. The same request with the same key gets the same reply.",
    ),
]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a POST answers, and the queue whose workers should look (None: none)."""

    status: int
    body: BaseModel
    wake: str | None = None


def perform(
    services: Services, request: Request, key: str | None, body: object, work: Callable[[Connection], Reply]
) -> Response:
    """Do `work` in one transaction, once for each key, commit, wake workers, and answer."""
    if key is None:
        reply = services.database.write(work)
        status, text, wake = reply.status, reply.body.model_dump_json(), reply.wake
    else:
        fingerprint = _fingerprint(request, body)
        status, text, wake = services.database.write(
            lambda connection: _once(connection, services.project_id, key, fingerprint, work)
        )
    if wake is not None:
        services.doorbell.nudge([wake])
    return Response(text, status_code=status, media_type="application/json")


def _once(
    connection: Connection, project_id: int, key: str, fingerprint: str, work: Callable[[Connection], Reply]
) -> tuple[int, str, str | None]:
    stored = idempotency.take(connection, project_id, key, fingerprint=fingerprint, now=utc_now())
    if stored is not None:
        return stored.status, stored.body, None
    reply = work(connection)
    text = reply.body.model_dump_json()
    idempotency.complete(connection, project_id, key, status=reply.status, body=text)
    return reply.status, text, reply.wake


def _fingerprint(request: Request, body: object) -> str:
    parts: list[Any] = [request.method, request.url.path, body]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
