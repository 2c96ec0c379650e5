"""A PostgreSQL and a Redis of one run's own, to be stopped, started again and hurt in other ways.

Commits survive what is done here: the server is stopped "immediately", but the machine lives, so nothing that was
written to a file is lost although `fsync` is off.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
import redis

from tests.faults import disk
from tests.support import postgres, redis_server
from tests.support.shared import free_port
from workers.tether import tethered

READY_SECONDS = 30.0
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "on",
    "full_page_writes": "off",
    "max_connections": "500",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "log_min_messages": "warning",
    "autovacuum_naptime": "5s",
}


class Postgres:
    """One server over a data folder of its own. Start it from a thread that lives as long as the process."""

    def __init__(self, logs: Path) -> None:
        """Make the data folder and choose a port; `start` starts the server, which writes its log below `logs`."""
        binaries = postgres.installed_binaries()
        if binaries is None:
            raise RuntimeError(postgres.REMEDY)
        self._binaries = binaries
        self.port = free_port()
        self._log = logs / "postgres.log"
        self._folder = disk.make("tuneup-faults-pg-")
        self._data = self._folder / "data"
        self._data.mkdir(mode=0o700)
        # The server refuses to run as root.
        self._user = "postgres" if os.getuid() == 0 and _has_user("postgres") else None
        if self._user is not None:
            for folder in (self._folder, self._data):
                shutil.chown(folder, self._user)
        words = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        self._run(str(binaries / "initdb"), "-D", str(self._data), *words).wait()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    def url(self, port: int | None = None, *, database: str = "tuneup") -> str:
        """Return SQLAlchemy's URL of a database, through another port where a proxy stands in front."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start the server, unless it runs; it recovers by itself from what `stop` left. Does not wait."""
        if self.running:
            return
        settings = {**_SETTINGS, "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self._folder)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        words = ("-D", str(self._data), "-p", str(self.port), *options)
        self._process = self._run(str(self._binaries / "postgres"), *words)

    def stop(self, *, fast: bool = False) -> None:
        """Stop at once, as a crash does, or `fast`: open transactions are rolled back and a checkpoint is written."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT if fast else signal.SIGQUIT)
            self._process.wait(READY_SECONDS)

    def wait_ready(self) -> None:
        """Return once the server answers; raise RuntimeError after READY_SECONDS."""
        wait_until(lambda: _succeeds(lambda: self.execute("SELECT 1")), what="PostgreSQL ready")

    def create_database(self) -> None:
        """Make the empty database that `url` names."""
        self.execute("CREATE DATABASE tuneup")

    def terminate(self) -> None:
        """End every session but ours; a server that is down has none."""
        with suppress(psycopg.Error):
            self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tuneup'")

    def execute(self, statement: str) -> None:
        """Run one statement on the maintenance database."""
        plain = self.url(database="postgres").replace("+psycopg", "", 1)
        with psycopg.connect(plain, autocommit=True, connect_timeout=3) as connection:
            connection.execute(statement.encode())

    def remove(self) -> None:
        """Stop the server and remove its data."""
        self.stop()
        disk.remove(self._folder)

    def fill_disk(self) -> bool:
        """Leave no room for another byte; return whether that could be done here."""
        return disk.fill(self._folder)

    def free_disk(self) -> None:
        """Give the room back, and start the server if it gave up."""
        disk.free(self._folder)
        self.start()

    def _run(self, *words: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                _as_user(self._user, words) if self._user is not None else tethered(*words),
                cwd=self._folder if self._user is not None else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


class SqliteFile:
    """What stands for a server where the database is a file: it never runs, so nothing can be done to it."""

    port = 0
    running = False

    def __init__(self, folder: Path) -> None:
        """Choose the file."""
        self._path = folder / "tuneup.db"

    def url(self, port: int | None = None) -> str:
        """Return SQLAlchemy's URL of the file, whatever the port."""
        del port
        return f"sqlite:///{self._path}"

    def start(self) -> None:
        """Nothing has to be started."""

    wait_ready = create_database = terminate = remove = free_disk = start

    def stop(self, *, fast: bool = False) -> None:
        """Nothing can be stopped."""

    def fill_disk(self) -> bool:
        """Return False: the file lies on no disk of its own."""
        return False


class Redis:
    """One server that keeps nothing on disk. Start it from a thread that lives as long as the process."""

    def __init__(self, folder: Path) -> None:
        """Choose a port; `start` starts the server."""
        program = redis_server.binary()
        if program is None:
            raise RuntimeError(redis_server.REMEDY)
        self._program = program
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server, empty, unless it runs. Does not wait."""
        if self.running:
            return
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                tethered(str(self._program), "--port", str(self.port), *options, "--dir", str(self._folder)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Return once the server answers; raise RuntimeError after READY_SECONDS."""
        wait_until(lambda: _succeeds(lambda: self.command("PING")), what="Redis ready")

    def kill(self) -> None:
        """End the server at once; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def command(self, *words: str | int | bytes) -> None:
        """Send one command past the proxy. Raise redis.RedisError where the server is away or refuses."""
        with redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=2) as client:
            client.execute_command(*words)


def wait_until(ready: Callable[[], bool], *, what: str, seconds: float = READY_SECONDS) -> None:
    """Return once `ready()`; raise RuntimeError when the time is over."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


def _succeeds(work: Callable[[], None]) -> bool:
    try:
        work()
    except (psycopg.OperationalError, redis.RedisError):
        return False
    return True


def _as_user(user: str, words: Sequence[str]) -> list[str]:
    """Tie to this process, as another user: to change the user later would undo the tie, and our Python may be root's."""
    return ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--pdeathsig", "KILL", *words]


def _has_user(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())
