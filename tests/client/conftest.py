"""The fake service, running; a client of it; and retries that do not wait."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import tuneup
from tests.client.fake_service import FakeService, Server


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def url(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the running fake's address, which the environment names too."""
    with Server(service) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("TUNEUP_URL", server.url)
        monkeypatch.delenv("TUNEUP_API_KEY", raising=False)
        yield server.url
        server.shutdown()


@pytest.fixture
def client(url: str) -> Iterator[tuneup.Client]:
    with tuneup.Client(url) as client:
        yield client


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make retries immediate, and return the list of the attempts that they followed."""
    attempts: list[int] = []

    def none(attempt: int, **_: object) -> float:
        attempts.append(attempt)
        return 0.0

    monkeypatch.setattr("tuneup.wire.backoff", none)
    monkeypatch.setattr("tuneup.wire.BASE_SECONDS", 0.0)
    return attempts


@pytest.fixture
def definition() -> dict[str, Any]:
    return {"name": "digits", "objective": {"recipe": "classifier"}, "space": {}, "budget": {"trials": 4}}


@pytest.fixture
def study_file(definition: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(definition))
    return path
