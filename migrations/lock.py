"""One migrator at a time, also when several processes start together."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text

# Any number will do, as long as nobody else takes an advisory lock on the same one in our database.
_KEY = 7_283_664


@contextmanager
def migration_lock(engine: Engine) -> Iterator[None]:
    """Hold PostgreSQL's advisory lock on a connection of its own; on SQLite each revision takes the file's lock."""
    if engine.dialect.name != "postgresql":
        yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Waiting for another migrator is no fault, however long it takes.
        connection.execute(text("SET lock_timeout = 0"))
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _KEY})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _KEY})
            connection.invalidate()
