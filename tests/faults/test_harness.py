"""The harness itself: what hurts the service must hurt as it says, and nothing more."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest

from tests.faults import oracle, stub, studies
from tests.faults.__main__ import LONG_RUN, SHORT_RUN, missing, split, stored
from tests.faults.driver import Report
from tests.faults.processes import STUB
from tests.faults.proxy import COMMIT, Proxy
from tests.faults.servers import Postgres, Redis, wait_until

QUERY = b"Q\x00\x00\x00\x0b" + COMMIT


class Echo:
    """A server that says again what it hears, and keeps it."""

    def __init__(self) -> None:
        self.heard = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._repeat, args=(connection,), daemon=True).start()

    def _repeat(self, connection: socket.socket) -> None:
        with closing(connection):
            try:
                while data := connection.recv(65536):
                    self.heard += data
                    connection.sendall(data)
            except OSError:
                return


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    made = Proxy(echo.port)
    made.start()
    yield made
    made.stop()


def dial(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def ask(link: socket.socket, data: bytes) -> bytes:
    link.sendall(data)
    return link.recv(65536)


def broken(link: socket.socket) -> bool:
    """Say whether the other side is gone, in order or not."""
    try:
        return link.recv(65536) == b""
    except ConnectionResetError:
        return True


def test_the_proxy_passes_bytes_unchanged(proxy: Proxy) -> None:
    data = bytes(range(256)) * 4096
    with dial(proxy) as link:
        threading.Thread(target=link.sendall, args=(data,)).start()
        back = b""
        while len(back) < len(data):
            back += link.recv(65536)
    assert back == data


def test_a_held_link_delivers_later(proxy: Proxy, echo: Echo) -> None:
    with dial(proxy) as link:
        assert ask(link, b"a") == b"a"
        proxy.hole = True
        link.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ask(link, b"b")
        assert echo.heard == b"a"
        proxy.hole = False
        link.settimeout(10)
        assert link.recv(10) == b"b"


def test_reset_breaks_every_link_and_new_ones_work(proxy: Proxy) -> None:
    with dial(proxy) as first, dial(proxy) as second:
        assert ask(first, b"a") == ask(second, b"a") == b"a"
        assert proxy.reset() == 2
        assert broken(first)
        assert broken(second)
    with dial(proxy) as third:
        assert ask(third, b"b") == b"b"


def test_a_cut_comes_in_the_middle_of_a_message(proxy: Proxy, echo: Echo) -> None:
    with dial(proxy) as link:
        assert ask(link, b"a") == b"a"
        proxy.cut_after(3)
        link.sendall(b"bcdef")
        while not broken(link):
            pass
    # It is passed on at once, but the server may be slow to read it.
    wait_until(lambda: echo.heard == b"abcd", what="four bytes heard")


@pytest.mark.parametrize(("how", "arrives"), [("reply lost", True), ("swallowed", False)])
def test_a_commit_is_hurt_and_what_is_not_one_is_not(proxy: Proxy, echo: Echo, how: Any, arrives: bool) -> None:
    with dial(proxy) as link:
        proxy.hurt_commits(how, 1)
        assert ask(link, b"Q\x00\x00\x00\x0dSELECT 1\x00") != b""
        link.sendall(QUERY)
        assert broken(link)
    assert (QUERY in echo.heard) == arrives
    assert proxy.hurt == 1
    with dial(proxy) as link:
        assert ask(link, QUERY) == QUERY, "only as many as were ordered"


@pytest.mark.parametrize(("how", "rows"), [("reply lost", 1), ("swallowed", 0)])
def test_the_driver_sends_commits_that_the_proxy_knows(postgres: Postgres, how: Any, rows: int) -> None:
    """The client learns the same in both cases: nothing."""
    proxy = Proxy(postgres.port)
    proxy.start()
    plain = postgres.url(proxy.port).replace("+psycopg", "", 1)
    with psycopg.connect(plain) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept (a int)")
        connection.commit()
        connection.execute("INSERT INTO kept VALUES (1)")
        proxy.hurt_commits(how, 1)
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    with psycopg.connect(plain) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (rows,)
    proxy.stop()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    server.start()
    server.wait_ready()
    server.create_database()
    yield server
    server.remove()


@pytest.mark.parametrize("fast", [False, True])
def test_what_was_committed_survives_a_stop(postgres: Postgres, fast: bool) -> None:
    plain = postgres.url().replace("+psycopg", "", 1)
    with psycopg.connect(plain) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS a")
        connection.commit()
        connection.execute("INSERT INTO kept VALUES (0)")
        postgres.stop(fast=fast)
        assert not postgres.running
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    postgres.start()
    postgres.wait_ready()
    with psycopg.connect(plain) as connection:
        assert connection.execute("SELECT count(*), min(a) FROM kept").fetchone() == (1000, 1)


def test_a_full_disk_refuses_and_loses_nothing(postgres: Postgres) -> None:
    plain = postgres.url().replace("+psycopg", "", 1)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS a")
    if not postgres.fill_disk():
        pytest.skip("this user may not mount a disk in memory")
    refused = 0
    for _ in range(100):
        try:
            with psycopg.connect(plain, autocommit=True, connect_timeout=3) as connection:
                connection.execute("CREATE TABLE big AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
                connection.execute("DROP TABLE big")
        except psycopg.OperationalError:
            refused += 1
            break
    postgres.free_disk()
    postgres.wait_ready()
    assert refused
    with psycopg.connect(plain) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_sessions_are_ended_and_the_server_goes_on(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url().replace("+psycopg", "", 1)) as connection:
        postgres.terminate()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert postgres.running


def test_redis_comes_back_empty_at_the_same_place(tmp_path: Path) -> None:
    server = Redis(tmp_path)
    server.start()
    server.wait_ready()
    server.command("SET", "a", "b")
    server.kill()
    assert not server.running
    server.start()
    server.wait_ready()
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as link:
        assert ask(link, b"DBSIZE\r\n") == b":0\r\n"
    server.kill()


def test_servers_end_with_whoever_started_them(tmp_path: Path) -> None:
    """Else each run that is killed leaves a PostgreSQL and a Redis behind."""
    code = (
        "import pathlib, sys, time\n"
        "from tests.faults.servers import Postgres, Redis\n"
        "servers = [kind(pathlib.Path(sys.argv[1])) for kind in (Postgres, Redis)]\n"
        "for server in servers: server.start(); server.wait_ready()\n"
        "print(*(server.port for server in servers), flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ports = [int(port) for port in process.stdout.readline().split()]
    assert all(_listens(port) for port in ports)
    process.kill()
    process.wait()
    wait_until(lambda: not any(_listens(port) for port in ports), what="both servers gone")


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_oracles_lines_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "oracle.jsonl"
    writers = [oracle.Oracle(path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for place, writer in enumerate(writers):
            for count in range(50):
                pool.submit(writer.write, "http", place=place, count=count, text="x" * 5000)
    found = list(oracle.read(path, "http"))
    assert len({(line["place"], line["count"]) for line in found}) == 400
    with path.open("ab") as file:
        file.write(b'{"kind": "ht')
    assert len(list(oracle.read(path))) == 400, "a torn last line is no line"


def run_stub(folder: Path, number: int, **options: Any) -> tuple[subprocess.CompletedProcess[str], list[oracle.Line]]:
    """Run one trial of the stub; return how it ended and what the oracle heard."""
    path = folder / "oracle.jsonl"
    start = {"study": "s", "trial": f"s-{number}", "number": number, "attempt": 1, "params": {"a": 0.1}}
    done = subprocess.run(
        [sys.executable, "-S", "-I", str(STUB)],
        input=json.dumps(start | {"options": {"pause": 0.0, **options}}) + "\n",
        env={**os.environ, "TUNEUP_ORACLE": str(path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done, list(oracle.read(path, "train"))


def test_the_stub_reports_what_anybody_can_compute(tmp_path: Path) -> None:
    done, heard = run_stub(tmp_path, number=2)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    expected = [stub.value({"a": 0.1}, step) for step in (1, 2, 3)]
    assert [line["values"][stub.METRIC] for line in said] == expected
    assert [line["event"] for line in heard] == ["start", "step", "step", "step", "end"]
    assert [line["value"] for line in heard[1:-1]] == expected


@pytest.mark.parametrize(
    ("misbehave", "status"),
    [("crash", 1), ("out of memory", 137), ("poison", -signal.SIGKILL), ("nan", 0), ("infinity", 0)],
)
def test_the_stub_fails_on_order(tmp_path: Path, misbehave: str, status: int) -> None:
    done, heard = run_stub(tmp_path, number=6, misbehave=misbehave, every=5)
    assert done.returncode == status
    assert (heard[-1]["event"] == "end") == (status == 0)
    assert run_stub(tmp_path, number=7, misbehave=misbehave, every=5)[0].returncode == 0, "not in its turn"


@pytest.mark.parametrize("external", [False, True])
def test_studies_follow_from_their_seed(external: bool) -> None:
    draw: Callable[[], list[studies.Definition]] = lambda: [  # noqa: E731
        studies.draw(rng, external=external) for rng in [Random(3)] for _ in range(200)
    ]
    drawn = draw()
    assert drawn == draw()
    names = {study["name"].split()[0] for study in drawn}
    assert names == ({"grid", "random", "bayesian"} if external else set(studies.KINDS))


def _report(seed: int, faults: int) -> Report:
    return Report(
        seed=seed,
        faults={"kill supervisor": faults},
        stumbles=0,
        studies=1,
        trials=2,
        attempts=3,
        lost=1,
        measurements=4,
        detection=[],
        detection_alone=[],
        seconds=1.0,
        settle_seconds=1.0,
        violations=[],
    )


def test_a_thousand_faults_are_one_long_run_and_twenty_short_ones() -> None:
    plans = list(split(1000, 7, workers=4))
    assert sum(plan.faults for plan in plans) == 1000
    assert [plan.faults for plan in plans[:2]] == [LONG_RUN, SHORT_RUN]
    assert len({plan.seed for plan in plans}) == len(plans) >= 20


def test_what_is_stored_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert stored(path) == []
    report = _report(7, LONG_RUN)
    path.write_text(json.dumps({name: getattr(report, name) for name in Report.__dataclass_fields__}) + "\n")
    left = missing(split(1000, 7, workers=4), stored(path))
    assert [plan.seed for plan in left] == list(range(8, 28))
