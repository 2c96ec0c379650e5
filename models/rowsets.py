"""A table made of parameters, so that one statement updates many rows, each with its own values.

The rows travel as one JSON document, and the database reads it as a table: the statement keeps the same text
for any number of rows, so it is compiled and planned once.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import FromClause, TypeDecorator, bindparam, cast, column, func, select
from sqlalchemy.types import JSON, Boolean, Text, TypeEngine

Columns = Mapping[str, TypeEngine[Any]]


def rowset(dialect: str, columns: Columns, *, parameter: str = "rows") -> FromClause:
    """Read the JSON text bound to `parameter` (see `pack`) as a table with `columns`."""
    if dialect == "postgresql":
        document = cast(bindparam(parameter, type_=Text), JSON)
        function = func.json_to_recordset(document)
        return function.table_valued(*(column(name, type_) for name, type_ in columns.items())).render_derived(
            name="given", with_types=True
        )
    each = func.json_each(bindparam(parameter, type_=Text)).table_valued("value", name="each")
    fields = (
        func.json_extract(each.c.value, f"$.{name}", type_=_plain(type_)).label(name) for name, type_ in columns.items()
    )
    return select(*fields).subquery("given")


def pack(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows for `rowset`. Raise ValueError for NaN or infinity."""
    return json.dumps(list(rows), allow_nan=False)


def _plain(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    # SQLite hands nested JSON back as text already; booleans as 0 and 1.
    return Text() if isinstance(type_, JSON | TypeDecorator) else type_ if not isinstance(type_, Boolean) else Boolean()
