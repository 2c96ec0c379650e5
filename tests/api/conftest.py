"""A service to send requests to: its own for a test, over each kind of database, or shared by a file's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.stage import Stage, opened


@pytest.fixture
def stage(database_url: str) -> Iterator[Stage]:
    """Yield a service of the test's own, once over SQLite and once over PostgreSQL."""
    with opened(database_url) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Yield a service over SQLite that the tests of one file share; each leaves it as it found it or does not mind."""
    folder: Path = tmp_path_factory.mktemp("shared")
    with opened(f"sqlite:///{folder / 'tuneup.db'}") as made:
        yield made
