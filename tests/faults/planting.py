"""Planting a bug from where the product is imported already: in this process, and in a database."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from models.session import Connection, Database
from tests.faults.bugs import BUGS
from tests.faults.patches import applied


@contextmanager
def planted(bug: str | None) -> Iterator[None]:
    """Replace the functions of a bug in this process for the while; None plants nothing."""
    with applied(BUGS[bug].patches if bug is not None else ()):
        yield


def spoil(database_url: str, bug: str | None) -> None:
    """Do to the tables of a database what the bug does to them. Programs over it are started afterwards."""
    database = Database(database_url)
    try:
        for statement in BUGS[bug].ddl if bug is not None else ():
            database.write(partial(_execute, statement=statement))
    finally:
        database.dispose()


def _execute(connection: Connection, *, statement: str) -> None:
    connection.exec_driver_sql(statement)
