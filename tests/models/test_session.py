"""Transactions: whole or not at all, tried again where that helps, and given up in time."""

import os
import socket
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from models.session import Connection, Database, Unavailable
from models.tables import Project
from tests.support.ledger import Ledger, opened, together
from tests.support.shared import free_port


@pytest.fixture
def on_postgres(postgres_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger on PostgreSQL."""
    with opened(postgres_url) as made:
        yield made


def _add(connection: Connection, ledger: Ledger, name: str) -> None:
    connection.execute(insert(Project).values(name=name, created_at=ledger.clock()))


def _names(ledger: Ledger) -> list[str]:
    return sorted(row.name for row in ledger.rows("project"))


def test_a_unit_that_raises_leaves_nothing(ledger: Ledger) -> None:
    def fails(connection: Connection) -> None:
        _add(connection, ledger, "new")
        raise KeyError("no")

    with pytest.raises(KeyError):
        ledger.database.write(fails)
    assert _names(ledger) == ["default"]


def test_a_fault_of_ours_is_not_tried_again(ledger: Ledger) -> None:
    tries: list[int] = []

    def doubled(connection: Connection) -> None:
        tries.append(1)
        _add(connection, ledger, "default")

    with pytest.raises(IntegrityError):
        ledger.database.write(doubled)
    assert len(tries) == 1


def test_units_that_read_and_write_do_not_lose_each_other(ledger: Ledger) -> None:
    """Each adds one to what it read under a lock: on SQLite that of the file, taken at the start."""

    def work(place: int) -> None:
        def add(connection: Connection) -> None:
            name = connection.execute(select(Project.name).with_for_update()).scalar_one()
            count = int(name) + 1 if name.isdigit() else 1
            connection.execute(update(Project).values(name=str(count)))

        for _ in range(10):
            ledger.database.write(add, durable=place % 2 == 0)

    together(4, work)
    assert _names(ledger) == ["40"]


def test_a_connection_that_was_cut_is_replaced(on_postgres: Ledger) -> None:
    tries: list[int] = []

    def cut_once(connection: Connection) -> None:
        _add(connection, on_postgres, "new")
        tries.append(1)
        if len(tries) == 1:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    on_postgres.database.write(cut_once)
    assert len(tries) == 2
    assert _names(on_postgres) == ["default", "new"]


def test_pooled_connections_may_all_be_cut(on_postgres: Ledger) -> None:
    together(4, lambda _: _names(on_postgres))
    with pytest.raises(DBAPIError), on_postgres.database.engine.connect() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()")
        )
    assert _names(on_postgres) == ["default"]


def test_two_that_wait_for_each_other_both_succeed(on_postgres: Ledger) -> None:
    """PostgreSQL ends one of them as a deadlock; it is done again."""
    on_postgres.database.write(lambda c: _add(c, on_postgres, "other"))

    def work(place: int) -> None:
        first, second = ("default", "other") if place else ("other", "default")

        def both(connection: Connection) -> None:
            for name in (first, second):
                connection.execute(select(Project.id).where(Project.name == name).with_for_update())
                time.sleep(0.05)

        on_postgres.database.write(both)

    together(2, work)


def test_a_database_that_is_not_there_is_unavailable() -> None:
    database = Database(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none", patience=0.2)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="not available"):
        database.read(lambda connection: connection.execute(text("SELECT 1")))
    assert time.monotonic() - began < 5


def test_sqlite_keeps_what_it_acknowledged(sqlite_url: str) -> None:
    with opened(sqlite_url) as ledger:
        settings = ("journal_mode", "synchronous", "foreign_keys")
        found = ledger.database.read(lambda c: [c.execute(text(f"PRAGMA {name}")).scalar() for name in settings])
    assert found == ["wal", 2, 1]


def test_a_reader_does_not_wait_for_a_writer(ledger: Ledger) -> None:
    def write(connection: Connection) -> list[str]:
        _add(connection, ledger, "new")
        return _names(ledger)  # on another connection, meanwhile

    assert ledger.database.write(write) == ["default"]
    assert _names(ledger) == ["default", "new"]


def test_a_host_whose_name_leads_nowhere_is_a_database_that_is_away() -> None:
    """As that of a container which is being replaced."""
    database = Database("postgresql+psycopg://postgres@no-such-host.invalid/tuneup", patience=0.2)
    with pytest.raises(Unavailable, match="not available"):
        database.read(lambda connection: connection.execute(text("SELECT 1")))


def test_a_link_that_is_cut_off_is_noticed(on_postgres: Ledger) -> None:
    """The kernel is told to ask a silent server whether it is there, and to give up what is never acknowledged."""

    def options(connection: Connection) -> tuple[int, ...]:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=os.dup(driver.fileno())) as link:
            named = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            return (
                link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                *(link.getsockopt(socket.IPPROTO_TCP, name) for name in named),
            )

    assert on_postgres.database.read(options) == (1, 5, 3, 3, 15_000)
