"""The services that other tests stand on: each way of getting one is walked, whatever this machine has running."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from playwright.sync_api import Page

from tests.support import postgres, redis_server
from tests.support.shared import Server, home, shared, stop


@pytest.fixture
def sleeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Server]]:
    """Collect stand-in servers (a sleeping process each) in a home of their own; end what a failed test left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started: list[Server] = []
    yield started
    for server in started:
        stop(server)


def _start_sleeper(started: list[Server]) -> Server:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started.append(Server(url="test://", pid=process.pid))
    return started[-1]


def _alive(server: Server) -> bool:
    return Path(f"/proc/{server.pid}/stat").exists() and " Z " not in Path(f"/proc/{server.pid}/stat").read_text()


def test_a_database_is_new_empty_and_dropped(postgres_server: str) -> None:
    with postgres.fresh_database(postgres_server) as first, postgres.fresh_database(postgres_server) as second:
        assert first != second
        with psycopg.connect(first.replace("+psycopg", "")) as connection:
            tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
            assert tables == (0,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first.replace("+psycopg", ""))


def test_a_server_of_our_own_starts_from_installed_binaries() -> None:
    start = postgres.starter()
    assert start is not None, postgres.REMEDY
    server = start()
    try:
        with postgres.fresh_database(server.url) as url, psycopg.connect(url.replace("+psycopg", "")) as connection:
            version = connection.execute("SHOW server_version_num").fetchone()
        assert version is not None
        assert int(version[0]) >= 150000
    finally:
        stop(server)
    assert not _alive(server)
    assert server.folder is None or not Path(server.folder).exists()


def test_redis_databases_are_apart_and_emptied(redis_url: str) -> None:
    # redis_url keeps the server up, where it is one of our own, until we have looked.
    with redis_server.database() as first, redis_server.database() as second:
        assert len({redis_url, first, second}) == 3
        with redis.Redis.from_url(first) as client:
            client.set("left", "behind")
    with redis.Redis.from_url(first) as client:
        assert client.dbsize() == 0


def test_a_redis_database_that_holds_something_is_left_alone(broker: redis_server.Broker) -> None:
    with redis.Redis.from_url(broker.url.removesuffix("/0") + "/15") as client:
        client.set("somebody", "else")
        assert redis_server.claim(broker.url) == broker.url.removesuffix("/0") + "/14"
        assert client.keys() == [b"somebody"]


def test_a_broker_comes_back_empty_at_its_address(broker: redis_server.Broker) -> None:
    with redis.Redis.from_url(broker.url) as client:
        client.set("key", "value")
        broker.stop()
        assert not redis_server.answers(broker.url)
        broker.start()
        assert client.get("key") is None


def test_a_shared_server_is_started_once_and_stopped_by_the_last(sleeper: list[Server]) -> None:
    name = "sleeper"
    with shared(name, lambda: _start_sleeper(sleeper)):
        with shared(name, lambda: _start_sleeper(sleeper)):
            assert len(sleeper) == 1
        assert _alive(sleeper[0])
    assert not _alive(sleeper[0])
    assert not (home() / f"{name}.json").exists()


def test_a_shared_server_that_died_is_started_again(sleeper: list[Server]) -> None:
    name = "sleeper"
    with shared(name, lambda: _start_sleeper(sleeper)):
        stop(sleeper[0])
        with shared(name, lambda: _start_sleeper(sleeper)):
            assert len(sleeper) == 2


def test_a_page_runs_scripts(browser_page: Page) -> None:
    browser_page.set_content("<title>no</title><script>document.title = 'yes'</script>")
    assert browser_page.title() == "yes"
