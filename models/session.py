"""Connections and transactions: the only place that commits.

A unit of work is a function of a connection. `write` runs it in one transaction and commits before it returns;
when the database says "again" (serialization failure, deadlock, lock or busy timeout, lost connection) the whole
unit runs again, so a unit must be idempotent: it may have been committed although its reply was lost.
"""

import random
import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Row, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# Those above this package name connections and rows in their signatures, but speak no SQL.
__all__ = ["Connection", "Database", "Row", "Unavailable", "Work"]

T = TypeVar("T")
Work = Callable[[Connection], T]

# Serialization failure, deadlock, lock not available; then the classes of lost connections and of a server going down.
_AGAIN_STATES = frozenset({"40001", "40P01", "55P03"})
_AGAIN_CLASSES = ("08", "57P")
# The server is out of something (disk, memory, connections), or a statement ran past its time: trying at once again
# would not help, but later it may.
_LATER_STATES = frozenset({"57014"})
_LATER_CLASSES = ("53", "58")
_SQLITE_LATER = ("full", "disk I/O error", "unable to open database file", "readonly")
_BUSY_SECONDS = 10.0
_BUSY_PAUSE_CAP = 0.04
_PAUSE_CAP = 1.0

# A plan for any study, not for this one: of a study that is new the statistics know nothing, and a planner that expects
# none of its rows reads them all.
_POSTGRES_OPTIONS = (
    "-c statement_timeout=30000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=30000 -c timezone=UTC"
    " -c plan_cache_mode=force_generic_plan"
)

# A server that is cut off says nothing: without these a thread would wait for it for hours.
_POSTGRES_LINK = {
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


class Unavailable(Exception):
    """The database did not answer in time, or kept asking to try again."""


class Database:
    """An engine and the two ways to use it: `read(work)` and `write(work)`."""

    def __init__(self, url: str, *, pool_size: int = 10, patience: float = 10.0) -> None:
        """Connect lazily to `url` (`postgresql+psycopg://...` or `sqlite:///file`); retry for `patience` seconds."""
        self.engine = _engine(url, pool_size)
        self.patience = patience

    @property
    def dialect(self) -> str:
        """`postgresql` or `sqlite`."""
        return self.engine.dialect.name

    def read(self, work: Work[T]) -> T:
        """Run `work` in a transaction that writes nothing. Raise Unavailable when the database stays away."""
        return self._retry(lambda: self._run(work, {"tuneup_mode": "DEFERRED"}))

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run `work` in one transaction and commit it before returning; with `durable` off the commit need not be on disk.

        Raise Unavailable when the database stays away; whatever `work` raises rolls it back and is raised.
        """
        return self._retry(lambda: self._run(work, {"tuneup_mode": "IMMEDIATE", "tuneup_durable": durable}))

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    def _run(self, work: Work[T], options: dict[str, Any]) -> T:
        with self.engine.connect() as connection:
            connection.execution_options(**options)
            with connection.begin():
                return work(connection)

    def _retry(self, attempt: Callable[[], T]) -> T:
        deadline = time.monotonic() + self.patience
        pause = 0.01
        while True:
            try:
                return attempt()
            except PoolTimeout as error:
                raise Unavailable("every database connection is in use; try again shortly") from error
            except DBAPIError as error:
                if _later(error):
                    raise Unavailable(f"the database cannot do this now: {error.orig}") from error
                if not _again(error):
                    raise
                if time.monotonic() + pause > deadline:
                    raise Unavailable(f"the database is not available: {error.orig}") from error
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, _PAUSE_CAP)


def _again(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state in _AGAIN_STATES or state.startswith(_AGAIN_CLASSES)
    if isinstance(error.orig, sqlite3.Error):
        return "locked" in str(error.orig) or "busy" in str(error.orig)
    # psycopg gives no SQLSTATE to what never reached the server: no way there, no such host, a broken connection.
    return isinstance(error, OperationalError | InterfaceError)


def _later(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state in _LATER_STATES or state.startswith(_LATER_CLASSES)
    return isinstance(error, OperationalError) and any(word in str(error.orig) for word in _SQLITE_LATER)


def _engine(url: str, pool_size: int) -> Engine:
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, pool_timeout=5)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=5,
        connect_args={"options": _POSTGRES_OPTIONS, "connect_timeout": 5, **_POSTGRES_LINK},
    )
    event.listen(engine, "begin", _begin_postgres)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:  # noqa: ANN401  the driver's own class
    """Take transactions, and waiting for them, into our own hands and make commits durable.

    Readers never block behind a writer.
    """
    del record
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=0",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Begin; wait for another writer to end, up to _BUSY_SECONDS.

    SQLite's own waiting looks ever more seldom, so that whoever came late wins and whoever waits may starve. Here all
    who wait look equally often after a few looks, at random; more often would cost the one who writes its processor.
    """
    # A deferred transaction that turns into a writer can fail at once as busy; so writers say it at the start.
    begin = f"BEGIN {connection.get_execution_options().get('tuneup_mode', 'IMMEDIATE')}"
    driver: Any = connection.connection.driver_connection
    deadline = time.monotonic() + _BUSY_SECONDS
    pause = 0.002
    while time.monotonic() < deadline:
        try:
            driver.execute(begin)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                break
        else:
            return
        time.sleep(random.uniform(pause / 8, pause))
        pause = min(2 * pause, _BUSY_PAUSE_CAP)
    connection.exec_driver_sql(begin)  # what it raises now is raised as every other error of the database


def _begin_postgres(connection: Connection) -> None:
    if not connection.get_execution_options().get("tuneup_durable", True):
        connection.execute(text("SET LOCAL synchronous_commit = off"))
