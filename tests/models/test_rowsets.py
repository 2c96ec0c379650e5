"""Rows that travel as one JSON document arrive as they were, on both databases."""

import json
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.types import JSON, BigInteger, Boolean, Double, Integer, Text

from models.rowsets import Columns, pack, rowset
from tests.support.ledger import Ledger

COLUMNS: Columns = {
    "number": Integer(),
    "big": BigInteger(),
    "share": Double(),
    "word": Text(),
    "yes": Boolean(),
    "nested": JSON(),
}
ROWS: list[dict[str, Any]] = [
    {
        "number": 0,
        "big": 2**62 + 1,
        "share": 0.1,
        "word": 'it\'s "quoted"\\ \u00e9\u4e16\U0001f600',
        "yes": True,
        "nested": {},
    },
    {
        "number": 1,
        "big": -1,
        "share": 1e-300,
        "word": "",
        "yes": False,
        "nested": {"a": [1, 0.5, None, "x"], "b": {"c": True}},
    },
    {"number": 2, "big": None, "share": None, "word": None, "yes": None, "nested": None},
    {"number": 3, "big": 0, "share": 1.7976931348623157e308, "word": "null", "yes": None, "nested": {"a": 1e16}},
]


def test_rows_arrive_as_they_were(ledger: Ledger) -> None:
    given = rowset(ledger.database.dialect, COLUMNS)
    query = select(*(given.c[name] for name in COLUMNS)).order_by(given.c.number)
    found = ledger.database.read(lambda c: c.execute(query, {"rows": pack(ROWS)}).mappings().all())
    assert [{**row, "nested": _nested(row["nested"])} for row in found] == ROWS


def _nested(value: Any) -> Any:
    """SQLite hands nested values over as the text that it stores them as."""
    return json.loads(value) if isinstance(value, str) else value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        pack([{"share": value}])
