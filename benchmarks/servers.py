"""Databases to measure on: a PostgreSQL server as it comes (fsync and all else at its defaults), and SQLite files."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import psycopg

from tests.support import postgres
from tests.support.shared import Server, free_port, stop, wait_until

# Yields the URL of a new empty database and removes it afterwards.
Fresh: TypeAlias = Callable[[], AbstractContextManager[str]]
SHOWN = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yield the URL of a server's maintenance database.

    It is the server named by TUNEUP_TEST_POSTGRES_URL, or one started here from installed programs, or one found
    running, or one from the wheel. Raise RuntimeError where there is none.
    """
    given = os.environ.get(postgres.VARIABLE)
    binaries = postgres.installed_binaries()
    if given:
        yield given
    elif binaries is not None and postgres.starter() is not None:
        server = _start(binaries)
        try:
            yield server.url
        finally:
            stop(server)
    else:
        with postgres.server() as found:
            yield found


@contextmanager
def sqlite_file() -> Iterator[str]:
    """Yield the URL of a new SQLite database in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="tuneup-bench-") as folder:
        yield f"sqlite:///{folder}/ledger.db"


def describe(server_url: str) -> str:
    """Say which server this is and how durable it was told to be."""
    with psycopg.connect(_plain(server_url), autocommit=True) as connection:
        version = connection.execute("SHOW server_version").fetchone()
        settings = connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name", [list(SHOWN)]
        ).fetchall()
    return f"PostgreSQL {version[0] if version else '?'} ({', '.join(f'{name} {value}' for name, value in settings)})"


def analyze(url: str) -> None:
    """Let PostgreSQL look at its tables once they hold something, as it would by itself within a minute or two.

    A plan made for an empty table, or for a tiny one, stays in use for as long: foreign keys would be checked by the
    wrong index, or by none.
    """
    if url.startswith("postgresql"):
        with psycopg.connect(_plain(url), autocommit=True) as connection:
            connection.execute("ANALYZE")


def _start(binaries: Path) -> Server:
    user = "postgres" if os.getuid() == 0 else None  # the server refuses to run as root
    groups: list[str | int] | None = None if user is None else []
    data = Path(tempfile.mkdtemp(prefix="tuneup-bench-pg-"))
    if user is not None:
        shutil.chown(data, user)
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"],
        check=True,
        capture_output=True,
        user=user,
        group=user,
        extra_groups=groups,
        cwd=data,
    )
    port = free_port()
    with (data / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=user,
            group=user,
            extra_groups=groups,
            cwd=data,
            start_new_session=True,
        )
    url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    wait_until(lambda: _answers(url), what=f"PostgreSQL (log in {data})", process=process)
    return Server(url=url, pid=process.pid, stop_signal=signal.SIGINT, folder=str(data))


def _answers(url: str) -> bool:
    try:
        psycopg.connect(_plain(url), connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
