"""`python -m api`: what it refuses to do, and what importing the application loads."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from api import __main__ as command
from migrations.upgrade import database_fault, upgrade
from models.session import Unavailable
from search.definition.examples import EXAMPLE_STUDIES
from settings import Settings
from tests.api.stage import problem
from tests.support.shared import free_port, wait_until

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST", "0:0:0:0:0:0:0:1"])
def test_hosts_that_only_this_machine_reaches(host: str) -> None:
    assert command.is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104
        "::",
        "192.168.0.1",
        "10.0.0.1",
        "1.1.1.1",
        "",
        "localhost.example.org",
        "127.0.0.1.example.org",
        "2130706433",
        "127.1",
    ],
)
def test_hosts_that_others_may_reach(host: str) -> None:
    assert not command.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1"])  # noqa: S104
def test_it_refuses_to_be_reached_without_a_key(host: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUNEUP_")}
    ended = subprocess.run(
        [sys.executable, "-m", "api", "--host", host, "--port", "0"],
        cwd=ROOT,
        env=environment | {"TUNEUP_DATABASE_URL": f"sqlite:///{tmp_path / 'tuneup.db'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "TUNEUP_API_KEY" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "key", "serves"),
    [
        ("0.0.0.0", "a long random key", True),  # noqa: S104
        ("0.0.0.0", "", False),  # noqa: S104
        ("0.0.0.0", None, False),  # noqa: S104
        ("127.0.0.1", None, True),
        ("localhost", "", True),
    ],
)
def test_when_it_serves(
    host: str, key: str | None, serves: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[str] = []
    secret = SecretStr(key) if key is not None else None
    monkeypatch.setattr(command, "load", lambda: Settings(database_url="sqlite://", api_key=secret))
    monkeypatch.setattr(command, "database_fault", lambda _: None)
    monkeypatch.setattr("uvicorn.run", lambda _, *, host, **__: served.append(host))
    status = command.main(["--host", host])
    assert (status, served) == ((0, [host]) if serves else (2, []))
    assert ("TUNEUP_API_KEY" in capsys.readouterr().err) is not serves


def test_it_says_what_an_empty_database_wants(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[object] = []
    monkeypatch.setattr(command, "load", lambda: Settings(database_url=database_url, api_key=None))
    monkeypatch.setattr("uvicorn.run", lambda app, **_: served.append(app))
    assert (command.main([]), served) == (1, [])
    assert "tuneup migrate" in capsys.readouterr().err
    upgrade(database_url)
    assert (command.main([]), len(served)) == (0, 1)


def test_it_says_when_the_database_is_away(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.session.Database.read", _away)
    assert database_fault(sqlite_url) == "nobody answers"


def _away(*_: object) -> None:
    raise Unavailable("nobody answers")


def test_importing_the_application_loads_no_training_and_no_search_library() -> None:
    script = "import sys, api.app; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "fastapi" in done.stdout.split()
    assert {"torch", "optuna", "sklearn", "scipy", "numpy", "training"} & set(done.stdout.split()) == set()


@pytest.fixture
def address(sqlite_url: str) -> Iterator[str]:
    """Yield the address of `python -m api`, running on its own; SIGTERM must end it in order."""
    upgrade(sqlite_url)
    port = free_port()
    environment = os.environ | {"TUNEUP_DATABASE_URL": sqlite_url, "TUNEUP_BROKER_URL": "memory://"}
    command_line = [sys.executable, "-m", "api", "--host", "localhost", "--port", str(port)]
    process = subprocess.Popen(command_line, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: _is_ready(port), what="the API", process=process)
        yield f"http://localhost:{port}"
        process.terminate()
        _, complaints = process.communicate(timeout=10)
        assert b"Traceback" not in complaints
    finally:
        process.kill()


def _is_ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://localhost:{port}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def test_a_real_server_answers(address: str) -> None:
    with httpx2.Client(base_url=address) as client:
        made = client.post("/v1/studies", json=EXAMPLE_STUDIES["iris-grid"])
        assert made.status_code == 201
        head = client.head(f"/v1/studies/{made.json()['id']}")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(made.content))
        for content in (b" " * 10_000_000, (b" " * 65536 for _ in range(160))):
            refused = client.post("/v1/studies", content=content, headers={"Content-Type": "application/json"})
            assert refused.status_code == 413
            assert problem(refused)["title"] == "The body is too large"
        assert client.get("/v1/studies").json()["data"] == [made.json()]
