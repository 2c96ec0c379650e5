"""Counting the SQL statements that a process sends, the same way for everyone who uses SQLAlchemy."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine, ExecutionContext
from sqlalchemy.engine.interfaces import ExecuteStyle

_sent = [0]


def counted() -> int:
    """Return how many statements this process has sent since it began to count."""
    return _sent[0]


@event.listens_for(Engine, "before_cursor_execute")
def _count(
    connection: object,
    cursor: object,
    statement: str,
    parameters: Any,  # noqa: ANN401  the driver's own shapes
    context: ExecutionContext | None,
    executemany: bool,
) -> None:
    """Count one, or one for each set of parameters where the driver sends a statement for each.

    Rows that SQLAlchemy puts into one INSERT are flagged as many too, but are one statement.
    """
    del connection, cursor, statement
    one = not executemany or (context is not None and context.execute_style is ExecuteStyle.INSERTMANYVALUES)
    _sent[0] += 1 if one else len(parameters)
