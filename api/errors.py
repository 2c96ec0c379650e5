"""One table from what went wrong to the status and the problem+json (RFC 9457) that says so."""

import logging
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.schemas.problems import Problem
from models.idempotency import KeyInUse, KeyMismatch
from models.session import Unavailable
from search.errors import Conflict, Fault, InvalidStudy, InvalidValue, NotFound, Stale, TuneupError

log = logging.getLogger("tuneup.api")

MEDIA_TYPE = "application/problem+json"
_RETRY_SECONDS = "2"

STATUSES: dict[type[Exception], tuple[int, str]] = {
    InvalidStudy: (422, "The study cannot be run as it stands"),
    InvalidValue: (422, "The request cannot be accepted as it stands"),
    NotFound: (404, "Not found"),
    Conflict: (409, "The state does not allow this"),
    Stale: (409, "The lease is gone"),
    KeyInUse: (409, "The first request with this Idempotency-Key is still being worked on"),
    KeyMismatch: (422, "The Idempotency-Key was used before, with another request"),
    Unavailable: (503, "The database is not available"),
}
_DETAILS: dict[type[Exception], str] = {
    KeyInUse: "Send the same request again in a moment to get its reply.",
    KeyMismatch: "Use a new key for a new request.",
    Unavailable: "Nothing was changed, or the same request with the same Idempotency-Key gets the stored reply; try again.",
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
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "errors": [{"path": fault.path, "message": fault.message} for fault in faults],
    }
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe these statuses for OpenAPI, on top of those that any route may answer."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "model": Problem,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*statuses, 401, 422, 503})
    }


def install(app: FastAPI) -> None:
    """Answer every error of this application with a problem."""
    for kind in STATUSES:
        app.add_exception_handler(kind, _domain)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _domain(_: Request, error: Exception) -> JSONResponse:
    status, title = STATUSES[next(kind for kind in type(error).__mro__ if kind in STATUSES)]
    headers = {"Retry-After": _RETRY_SECONDS} if status == 503 else None
    faults = error.faults if isinstance(error, InvalidValue) else ()
    detail = _DETAILS.get(type(error))
    if detail is None and isinstance(error, TuneupError):
        detail = f"{len(faults)} fault{'s' if len(faults) != 1 else ''}; see errors" if faults else str(error)
    return problem(status, title=title, detail=detail, faults=faults, headers=headers)


async def _validation(_: Request, error: Exception) -> JSONResponse:
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    if any(fault["type"] == "json_invalid" for fault in errors):
        where = next(fault for fault in errors if fault["type"] == "json_invalid")
        reason = where.get("ctx", {}).get("error", "unreadable")
        return problem(400, title="The body is not JSON", detail=f"at character {where['loc'][-1]}: {reason}")
    return problem(422, title=STATUSES[InvalidValue][1], faults=[Fault(_path(f["loc"]), f["msg"]) for f in errors])


def _path(location: Sequence[Any]) -> str:
    return ".".join(str(part) for part in location)


async def _http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers) if error.headers else None
    return problem(error.status_code, detail=str(error.detail), headers=headers)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, detail="This is a fault of the service, not of the request; its log has the details.")
