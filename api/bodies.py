"""Bodies of requests: how large they may be, and the one way from their bytes to a JSON value."""

import json
from collections import Counter
from collections.abc import Mapping
from email.message import Message as HeaderParser
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem

MOST_BYTES = 1024 * 1024
# What is deeper than this is refused here; what is deeper than a definition may be is named by its path later on.
_DEEPEST = 200
# No number that a request may hold has so many digits, and to read millions of them takes long.
_MOST_DIGITS = 400
_TOO_LARGE = f"a body may have at most {MOST_BYTES} bytes"
_MEDIA_TYPE = "application/json"


class BodyLimit:
    """Answers 413 to a body over MOST_BYTES, announced or not, before anything keeps it."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what announces itself as too large; count the rest as it comes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and (len(announced) > 18 or int(announced) > MOST_BYTES):
            await problem(413, detail=_TOO_LARGE, headers={"Connection": "close"})(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MOST_BYTES:
                raise HTTPException(413, _TOO_LARGE, headers={"Connection": "close"})
            return message

        await self._app(scope, counted, send)


async def read_json(request: Request) -> Any:  # noqa: ANN401  any JSON value
    """Return the body as a JSON value; NaN and infinity are left for the domain to name by their path.

    Answer 415 to another media type, 400 to what is not JSON in UTF-8, names a field twice or nests beyond all use.
    """
    body = await request.body()
    if body:
        # Asked for even when the bytes would do: a page of another site cannot send this type unasked.
        _check_media_type(request.headers.get("content-type", ""))
    value = parse(body)
    if _deeper_than(value, _DEEPEST):
        raise HTTPException(400, f"the body is nested more than {_DEEPEST} levels deep")
    return value


async def read_json_if_any(request: Request) -> Any:  # noqa: ANN401  any JSON value
    """Return the body as `read_json` does; an empty one is an object without fields."""
    return await read_json(request) if await request.body() else {}


JsonBody = Annotated[Any, Depends(read_json)]
OptionalJsonBody = Annotated[Any, Depends(read_json_if_any)]


def parse(body: bytes) -> Any:  # noqa: ANN401  any JSON value
    """Read JSON. Raise HTTPException 400 saying where it goes wrong."""
    try:
        return json.loads(body.decode("utf-8-sig"), parse_int=_whole, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"at byte {error.start}: the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise HTTPException(400, f"at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise HTTPException(400, f"the body is nested more than {_DEEPEST} levels deep") from None


def _check_media_type(header: str) -> None:
    # The standard library's reader of such headers; the name says the rest.
    parsed = HeaderParser()
    parsed["content-type"] = header or "application/octet-stream"
    charset = parsed.get_param("charset", "utf-8")
    if parsed.get_content_type() != _MEDIA_TYPE or str(charset).lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise HTTPException(415, f"send JSON in UTF-8, with the header Content-Type: {_MEDIA_TYPE}")


def _whole(digits: str) -> int:
    return int(digits[:_MOST_DIGITS])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise HTTPException(400, f"the field {twice[:128]!a} stands twice in one object")
    return made


def _deeper_than(value: object, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [item for container in layer for item in _items(container)]
        if not layer:
            return False
    return any(isinstance(container, list | dict) for container in layer)


def _items(value: object) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []
