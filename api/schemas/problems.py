"""How errors look: a problem after RFC 9457, with the faults of the request listed."""

from typing import Any

_TEXT = {"type": "string"}

PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "What is wrong with a request, after RFC 9457",
    "type": "object",
    "required": ["type", "title", "status", "detail", "errors"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": {"type": ["string", "null"]},
        "errors": {
            "type": "array",
            "description": "Each thing wrong with the request: the path of the field, and what to do about it",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": _TEXT, "message": _TEXT},
            },
        },
    },
}
