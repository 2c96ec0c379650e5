"""From an HTTP answer to JSON, or to the error it stands for (RFC 9457 problem documents)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import httpx2

from tuneup.errors import ApiError, BadStudy, Conflict, Fault, NotFound, Unauthorized
from tuneup.shapes import Json

KINDS: Mapping[int, type[ApiError]] = MappingProxyType(
    {401: Unauthorized, 403: Unauthorized, 404: NotFound, 409: Conflict}
)
# In answer to the creation of a study, these mean that the definition is at fault.
CREATION_KINDS: Mapping[int, type[ApiError]] = MappingProxyType({**KINDS, 400: BadStudy, 413: BadStudy, 422: BadStudy})
NOT_TUNEUP = "this does not answer like a tuneup service; check the address"


def json_object(response: httpx2.Response) -> Json:
    """Return the body of a success; raises ApiError where it is not a JSON object."""
    body = _body(response)
    if body is None:
        raise ApiError(status=response.status_code, title="unexpected answer", detail=NOT_TUNEUP)
    return body


def problem(response: httpx2.Response, *, kinds: Mapping[int, type[ApiError]] = KINDS) -> ApiError:
    """Return the error that an answer outside 2xx stands for; a body that is no problem document is tolerated."""
    body = _body(response)
    status = response.status_code
    kind = kinds.get(status, ApiError)
    title = f"{status} {response.reason_phrase}".strip()
    if body is None:
        return kind(status=status, title=title, detail=NOT_TUNEUP)
    return kind(
        status=status,
        title=_text(body.get("title")) or title,
        detail=_text(body.get("detail")),
        faults=_faults(body.get("errors")),
    )


def _body(response: httpx2.Response) -> Json | None:
    try:
        body: Any = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _faults(errors: object) -> tuple[Fault, ...]:
    entries = errors if isinstance(errors, list) else []
    return tuple(
        Fault(_text(entry.get("path")), _text(entry.get("message"))) for entry in entries if isinstance(entry, dict)
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
