"""Server-rendered pages: the templates, how values are written in them, their headers, and errors as pages."""

import hashlib
import json
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.errors import STATUSES
from models.session import Unavailable
from search.errors import InvalidValue, NotFound

_DASHBOARD = Path(__file__).parents[1] / "dashboard"
STATIC = _DASHBOARD / "static"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# Alone, a picture may use its own styles and nothing else.
PICTURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_NOT_ACCEPTED = 422


class PageRoute(APIRoute):
    """A route whose answers carry the headers of a page, and whose errors are pages too.

    What asks for credentials stays as it is: a browser acts on the status and the challenge, not on the body.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the usual handler."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                response = await handle(request)
            except (NotFound, Unavailable) as error:
                response = error_page(STATUSES[type(error)][0], str(error))
            except (InvalidValue, RequestValidationError):
                response = error_page(_NOT_ACCEPTED, "the address is not one of this page; start again from the list")
            response.headers.update(HEADERS)
            return response

        return handler


def page(template: str, *, status: int = 200, **values: Any) -> HTMLResponse:  # noqa: ANN401  whatever it shows
    """Render a template; every value is escaped."""
    return HTMLResponse(_templates().get_template(template).render(**values), status_code=status)


def error_page(status: int, detail: str) -> HTMLResponse:
    """Say what went wrong, and offer the way back."""
    return page("error.html", status=status, code=status, title=HTTPStatus(status).phrase, detail=detail)


def number(value: object) -> str:
    """Write a value of a parameter or metric: floats with six digits, the rest as JSON would, without its quotes."""
    if isinstance(value, float):
        return f"{value + 0.0:.6g}"  # + 0.0: no minus before a zero
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def metric(value: float) -> str:
    """Write a value of a metric with five digits, trailing zeros too, so that a column lines up."""
    return f"{value + 0.0:#.5g}".removesuffix(".")


def moment(value: datetime) -> str:
    """Write a point in time; it is in UTC."""
    return f"{value:%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """Write a time that passed, in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next(place for place, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount)


@cache
def static(name: str) -> str:
    """Return the address of a static file; it changes with the file, so that no browser keeps an old one."""
    return f"/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_DASHBOARD / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "metric": metric, "moment": moment, "duration": duration}
    made.globals |= {"static": static}
    return made
