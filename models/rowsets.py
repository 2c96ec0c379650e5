"""A table made of parameters, so that one statement reads or writes many rows, each with its own values.

The rows travel as one JSON document, and the database reads it as a table: the statement keeps the same text
for any number of rows, so it is built, compiled and planned once.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    TypeDecorator,
    bindparam,
    cast,
    column,
    func,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import JSON, Boolean, Text, TypeEngine

from models.tables import Table

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
    # LIMIT -1 is no limit, but what has one is read once and then drives a join. Without it SQLite would go through the
    # rows of the table, and read the whole document again for each of them.
    return select(*fields).limit(-1).subquery("given")


def insert_rowset(
    dialect: str, table: type[Table], columns: Columns, fixed: Mapping[str, object], *, skip: bool = False
) -> Insert:
    """Insert the rows bound to `rows`, with the values of `fixed` (plain or parameters) in each.

    A key that exists already is an error, or passed over with `skip`.
    """
    given = rowset(dialect, columns)
    same = {name: type_coerce(value, table.__table__.c[name].type) for name, value in fixed.items()}
    # SQLite cannot tell ON CONFLICT from a join's ON without a WHERE before it.
    rows = select(*(given.c[name] for name in columns), *same.values()).where(true())
    statement: postgresql.Insert | sqlite.Insert = (
        postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    )
    if skip:
        statement = statement.on_conflict_do_nothing()
    return statement.from_select([*columns, *same], rows, include_defaults=False)


def among(dialect: str, wanted: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
    """Say whether `wanted`, text or a whole number, is in the list bound to `parameter` (see `pack`)."""
    document = bindparam(parameter, type_=Text)
    if dialect == "postgresql":
        value: ColumnElement[Any] = func.json_array_elements_text(cast(document, JSON))
        if isinstance(wanted.type, Integer):
            value = cast(value, wanted.type)
        # An array, not a join: the index is looked up whatever the planner thinks of the document.
        return wanted == func.any(func.array(select(value).scalar_subquery()))
    each = func.json_each(document).table_valued("value", name="each")
    return wanted.in_(select(each.c.value))


def pack(rows: Sequence[object]) -> str:
    """Write rows (mappings for `rowset`, plain values for `among`). Raise ValueError for NaN or infinity."""
    try:
        return json.dumps(rows, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"only finite numbers are stored: {error}") from error


def show_moment(moment: datetime) -> str:
    """Write a point in time for a rowset, as SQLite keeps it; PostgreSQL reads it in UTC, every connection's time zone."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _plain(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    # SQLite hands nested JSON back as text already; booleans as 0 and 1.
    return Text() if isinstance(type_, JSON | TypeDecorator) else type_ if not isinstance(type_, Boolean) else Boolean()
