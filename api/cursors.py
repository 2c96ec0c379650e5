"""Cursors: where a page ended, as an opaque word of A-Z a-z 0-9 _ and -."""

import base64
import binascii
import json
from typing import Any

from search.errors import Fault, InvalidValue


def write_cursor(*parts: Any) -> str:  # noqa: ANN401  any JSON value
    """Write where a page ended."""
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(word: str, *kinds: type | tuple[type, ...]) -> list[Any]:
    """Read what `write_cursor` wrote, one part of each kind. Raise InvalidValue for anything else."""
    try:
        parts = json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        parts = None
    fits = isinstance(parts, list) and len(parts) == len(kinds)
    if not fits or not all(isinstance(part, kind) for part, kind in zip(parts, kinds, strict=True)):
        raise InvalidValue([Fault("query.cursor", "is not a cursor of this list; start again without one")])
    return list(parts)
