"""What no stored value may hold, looked for in any JSON value before anything else reads it.

Refused everywhere: NaN and infinity, whole numbers beyond 2^53 (JSON readers lose their last digits), control characters
and NUL (PostgreSQL refuses U+0000), lone surrogates, nesting deeper than 32, more than 64 entries in an object or 1,000
in a list, keys over 128 characters, other strings over 4,096. Strings and keys come out in Unicode normal form C, so that
two spellings of one name are one name.
"""

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from search.errors import Fault

DEEPEST = 32
MOST_ENTRIES = 64
MOST_ITEMS = 1000
LONGEST_NAME = 128
LONGEST_STRING = 4096
_LARGEST = 2**53


def clean(raw: object) -> tuple[Any, list[Fault]]:
    """Return the value normalised and all that is wrong with it.

    A faulty entry is left out of its object and null in its list, so that the rest can still be checked; a caller
    drops further faults at or below the paths found here (`beneath`).
    """
    faults: list[Fault] = []
    return _clean(raw, "", 0, faults), faults


def join(path: str, key: str | int) -> str:
    """Extend a field path: `space.lr`, `metrics[0]`. Characters that cannot be shown are escaped, long keys cut."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in key[:LONGEST_NAME])
    shown += "..." if len(key) > LONGEST_NAME else ""
    return f"{path}.{shown}" if path else shown


def beneath(path: str, roots: frozenset[str]) -> bool:
    """Say whether a path is one of `roots` or inside one."""
    return any(path == root or path.startswith((f"{root}.", f"{root}[")) for root in roots)


def string_problem(text: str, longest: int) -> str | None:
    """Say what is wrong with a string, or None."""
    if len(text) > longest:
        return f"must have at most {longest} characters, got {len(text)}"
    categories = {unicodedata.category(char) for char in text if not (char.isascii() and char.isprintable())}
    if "Cc" in categories:
        return f"must not hold control characters, got {text!a}"
    if "Cs" in categories:
        return f"must not hold lone surrogates, got {text!a}"
    return None


def escaped(text: str) -> str:
    """Return a longer text fit to be stored: control characters but line ends and tabs, and surrogates, are written out."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs"} else ascii(char)[1:-1]
        for char in text.replace("\r\n", "\n")
    )


def _clean(value: object, path: str, depth: int, faults: list[Fault]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping | list | tuple):
        return _clean_container(value, path, depth, faults)
    problem = _scalar_problem(value)
    if problem is not None:
        faults.append(Fault(path, problem))
        return None
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def _scalar_problem(value: object) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return string_problem(value, LONGEST_STRING)
    if isinstance(value, int):
        return None if abs(value) <= _LARGEST else "must lie within -2^53 and 2^53, where every JSON reader agrees"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"must be a finite number, got {value}"
    return f"must be a JSON value, got a {type(value).__name__}"


def _clean_container(
    value: Mapping[Any, object] | list[object] | tuple[object, ...], path: str, depth: int, faults: list[Fault]
) -> Any:  # noqa: ANN401 - any JSON value
    isobject = isinstance(value, Mapping)
    most, what = (MOST_ENTRIES, "fields") if isobject else (MOST_ITEMS, "items")
    if depth >= DEEPEST:
        faults.append(Fault(path, f"must not be nested deeper than {DEEPEST} levels"))
        return None
    if len(value) > most:
        faults.append(Fault(path, f"must have at most {most} {what}, got {len(value)}"))
        return None
    if isinstance(value, Mapping):
        return _clean_object(value, path, depth, faults)
    return [_clean(item, join(path, index), depth + 1, faults) for index, item in enumerate(value)]


def _clean_object(value: Mapping[Any, object], path: str, depth: int, faults: list[Fault]) -> dict[str, Any]:
    cleaned: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            faults.append(Fault(path, f"must have strings as names, got {key!r}"))
            continue
        here = join(path, key)
        problem = "must not be empty" if not key else string_problem(key, LONGEST_NAME)
        name = unicodedata.normalize("NFC", key)
        if problem is None and name in cleaned:
            problem = "stands twice, in two Unicode spellings"
        if problem is not None:
            faults.append(Fault(here, f"the name {problem}"))
            continue
        before = len(faults)
        kept = _clean(item, here, depth + 1, faults)
        if kept is not None or len(faults) == before:
            cleaned[name] = kept
    return cleaned
