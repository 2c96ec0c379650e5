"""Cursors: where a page ended, as an opaque word of A-Z a-z 0-9 _ and -."""

import base64
import binascii
import json
import math
import re
from typing import Any

from search.errors import Fault, InvalidValue

_WORD = re.compile(r"[A-Za-z0-9_-]+")
_LARGEST = 2**63 - 1  # of a whole number in a table


def write_cursor(*parts: Any) -> str:  # noqa: ANN401  any JSON value
    """Write where a page ended."""
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(word: str, *kinds: type | tuple[type, ...]) -> list[Any]:
    """Read what `write_cursor` wrote: one part of each kind, numbers finite and fit for a table. Else InvalidValue."""
    parts = _parts(word)
    if len(parts) != len(kinds) or not all(_fits(part, kind) for part, kind in zip(parts, kinds, strict=True)):
        raise foreign_cursor()
    return parts


def foreign_cursor() -> InvalidValue:
    """Return the error of a cursor that is not one, or of another list."""
    return InvalidValue([Fault("query.cursor", "is not a cursor of this list; start again without one")])


def _parts(word: str) -> list[Any]:
    if not _WORD.fullmatch(word):
        return []
    try:
        parts = json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return []
    return parts if isinstance(parts, list) else []


def _fits(part: object, kind: type | tuple[type, ...]) -> bool:
    if isinstance(part, bool) or not isinstance(part, kind):
        return False
    if isinstance(part, int):
        return abs(part) <= _LARGEST
    return not isinstance(part, float) or math.isfinite(part)


def write_place(order: str, key: float, number: int) -> str:
    """Write where a page of trials in this order ended: the value it is ordered by, and the trial's number."""
    return write_cursor(order, key, number)


def read_place(word: str, order: str) -> tuple[float, int]:
    """Read what `write_place` wrote for the same order. Raise InvalidValue for anything else."""
    written, key, number = read_cursor(word, str, (int, float), int)
    whole = order in _WHOLE
    if written != order or not 0 <= number < _MOST_NUMBERS or (whole and not _is_key(key, order)):
        raise foreign_cursor()
    return key, number


# The orders whose values are whole numbers, and what those stay below.
_MOST_NUMBERS = 2**31
_WHOLE = {"number": _MOST_NUMBERS, "-number": _MOST_NUMBERS, "seq": 2**63}


def _is_key(key: float, order: str) -> bool:
    return isinstance(key, int) and 0 <= key < _WHOLE[order]
