"""A service to send requests to: over each kind of database, emptied after each test, or shared by a file's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.stage import Stage, opened
from tests.support import postgres


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Yield a service over each kind of database, started once for a file's tests."""
    if request.param == "sqlite":
        with opened(_file(tmp_path_factory)) as made:
            yield made
    else:
        server: str = request.getfixturevalue("postgres_server")
        with postgres.fresh_database(server) as url, opened(url) as made:
            yield made


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    """Yield a service without studies, once over SQLite and once over PostgreSQL."""
    yield running
    running.clear()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Yield a service over SQLite that the tests of one file share; each leaves it as it found it or does not mind."""
    with opened(_file(tmp_path_factory)) as made:
        yield made


def _file(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("service")
    return f"sqlite:///{folder / 'tuneup.db'}"
