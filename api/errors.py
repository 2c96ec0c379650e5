"""One table from what went wrong to the status and the problem+json (RFC 9457) that says so."""

import logging
import random
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.lab.errors import LabBusy, LabUnavailable
from api.openapi import DocumentedApi
from models.idempotency import KeyInUse, KeyMismatch
from models.session import Unavailable
from search.errors import Conflict, Fault, InvalidStudy, InvalidValue, NotFound, TuneupError

log = logging.getLogger("tuneup.api")

MEDIA_TYPE = "application/problem+json"

STATUSES: dict[type[Exception], tuple[int, str]] = {
    InvalidStudy: (422, "The study cannot be run as it stands"),
    InvalidValue: (422, "The request cannot be accepted as it stands"),
    NotFound: (404, "Not found"),
    Conflict: (409, "The state does not allow this"),
    KeyInUse: (409, "The first request with this Idempotency-Key is still being worked on"),
    KeyMismatch: (422, "The Idempotency-Key was used before, with another request"),
    Unavailable: (503, "The database is not available"),
    LabUnavailable: (503, "The lab is not available"),
    LabBusy: (503, "The lab is busy"),
}
_DETAILS: dict[type[Exception], str] = {
    KeyInUse: "Send the same request again in a moment to get its reply.",
    KeyMismatch: "Use a new key for a new request.",
    Unavailable: "Nothing was changed, or the same request with the same Idempotency-Key gets the stored reply; try again.",
}
# Those that pass by themselves, and the seconds after which to try again.
_RETRY: dict[type[Exception], tuple[int, int]] = {KeyInUse: (1, 2), Unavailable: (1, 5), LabBusy: (1, 5)}
# What the framework and `api.bodies` refuse, by status.
_TITLES = {
    400: "The body is not JSON",
    401: "The key is missing or wrong",
    404: "Not found",
    405: "The method is not allowed here",
    413: "The body is too large",
    415: "The body is not JSON",
}
# What the framework says by itself, in our words.
_WORDS = {
    "Not Found": "there is nothing at this address; GET /v1/openapi.json lists all that is",
    "Method Not Allowed": "the header Allow lists the methods that are",
}


def problem(
    status: int,
    *,
    title: str | None = None,
    detail: str | None = None,
    faults: Iterable[Fault] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """Answer with a problem: what is wrong, and in `errors` where and what to do."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title or _TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "detail": _writable(detail) if detail is not None else None,
        "errors": [{"path": _writable(fault.path), "message": _writable(fault.message)} for fault in faults],
    }
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _writable(text: str) -> str:
    # A message may quote what was sent; a lone surrogate in it has no UTF-8.
    return text.encode(errors="backslashreplace").decode()


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe these statuses for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _TITLES.get(status) or HTTPStatus(status).phrase}
        | ({"content": content} if status >= 400 else {})
        for status in sorted(set(statuses))
    }


def install(app: FastAPI) -> None:
    """Answer every error of this application with a problem."""
    for kind in STATUSES:
        app.add_exception_handler(kind, _domain)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _domain(_: Request, error: Exception) -> JSONResponse:
    kind = next(kind for kind in type(error).__mro__ if kind in STATUSES)
    status, title = STATUSES[kind]
    # Whoever was refused together should not come back together.
    headers = {"Retry-After": str(random.randint(*_RETRY[kind]))} if kind in _RETRY else None
    if isinstance(error, InvalidValue):
        return _refusal(title, error.faults)
    detail = _DETAILS.get(kind) or (str(error) if isinstance(error, TuneupError) else None)
    faults = error.faults if isinstance(error, Conflict) else ()
    return problem(status, title=title, detail=detail, faults=faults, headers=headers)


async def _validation(_: Request, error: Exception) -> JSONResponse:
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    return _refusal(STATUSES[InvalidValue][1], [Fault(_path(fault["loc"]), _message(fault)) for fault in errors])


def _refusal(title: str, faults: Sequence[Fault]) -> JSONResponse:
    detail = f"{len(faults)} fault{'s' if len(faults) != 1 else ''}; see errors"
    return problem(422, title=title, detail=detail, faults=faults)


def _path(location: Sequence[Any]) -> str:
    return ".".join(str(part) for part in location)


def _message(fault: dict[str, Any]) -> str:
    if fault["type"] == "string_pattern_mismatch":
        return "must be printable ASCII without spaces"  # of all that is read from a URL or header only a key has one
    subject, _, rest = str(fault["msg"]).partition(" should ")
    return f"must {rest}" if rest else subject


async def _http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers) if error.headers else {}
    detail = str(error.detail)
    if error.status_code == 405 and isinstance(request.app, DocumentedApi):
        # The router names the methods of one route alone, where several share a path.
        headers["Allow"] = ", ".join(request.app.methods(request.url.path)) or headers.get("Allow", "")
    return problem(error.status_code, detail=_WORDS.get(detail, detail), headers=headers)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, detail="This is a fault of the service, not of the request; its log has the details.")
