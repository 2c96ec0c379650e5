"""POSTs that may be sent again: the reply is stored under the Idempotency-Key, in the transaction of the work."""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar, overload

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


T = TypeVar("T")
Finish: TypeAlias = Callable[[Connection], Reply]


@dataclass(frozen=True, slots=True)
class _Done:
    """A reply as it is sent and stored."""

    status: int
    text: str
    wake: str | None


def perform(
    services: Services, request: Request, key: str | None, body: object, work: Callable[[Connection], Reply]
) -> Response:
    """Do `work` in one transaction, once for each key, commit, wake workers, and answer."""
    return _answer(services, services.database.write(_keyed(services, request, key, body, work)))


def perform_in_two(
    services: Services,
    request: Request,
    key: str | None,
    body: object,
    begin: Callable[[Connection], Reply | T],
    go_on: Callable[[T], AbstractContextManager[Finish]],
) -> Response:
    """Do work that may need two transactions, once for each key, and answer.

    Where `begin` has no reply yet, `go_on` thinks about what it returned, outside any transaction, and yields what
    finishes the work in the second one, which also stores the reply. Between the two the key stands without a reply:
    the same request again begins again, and `begin` has to find what it did before.
    """
    begun = services.database.write(_keyed(services, request, key, body, begin, goes_on=True))
    if isinstance(begun, _Done):
        return _answer(services, begun)
    with go_on(begun) as finish:
        done = services.database.write(_keyed(services, request, key, body, finish, goes_on=True))
    return _answer(services, done)


def _answer(services: Services, done: _Done) -> Response:
    if done.wake is not None:
        services.doorbell.nudge([done.wake])
    return Response(done.text, status_code=done.status, media_type="application/json")


@overload
def _keyed(
    services: Services, request: Request, key: str | None, body: object, work: Finish, *, goes_on: bool = False
) -> Callable[[Connection], _Done]: ...
@overload
def _keyed(
    services: Services,
    request: Request,
    key: str | None,
    body: object,
    work: Callable[[Connection], Reply | T],
    *,
    goes_on: bool = False,
) -> Callable[[Connection], _Done | T]: ...
def _keyed(
    services: Services,
    request: Request,
    key: str | None,
    body: object,
    work: Callable[[Connection], Reply | T],
    *,
    goes_on: bool = False,
) -> Callable[[Connection], _Done | T]:
    """Make a unit of work that takes the key first and stores the reply last, or returns the one that is stored."""
    fingerprint = _fingerprint(request, body) if key is not None else ""

    def once(connection: Connection) -> _Done | T:
        project = services.project_id
        if key is not None:
            stored = idempotency.take(connection, project, key, fingerprint=fingerprint, now=utc_now(), goes_on=goes_on)
            if stored is not None:
                return _Done(stored.status, stored.body, None)
        said = work(connection)
        if not isinstance(said, Reply):
            return said
        done = _Done(said.status, said.body.model_dump_json(), said.wake)
        if key is not None:
            idempotency.complete(connection, project, key, status=done.status, body=done.text)
        return done

    return once


def _fingerprint(request: Request, body: object) -> str:
    parts: list[Any] = [request.method, request.url.path, body]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
