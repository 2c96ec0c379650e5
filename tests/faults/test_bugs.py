"""The checker is checked: twelve bugs are planted one by one, and each is caught; without it the same moves are clean."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bugs import BUGS
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.stand import stand
from tests.support import postgres


@pytest.fixture(scope="module")
def server_url(postgres_server: str) -> Iterator[str]:
    """Yield one database on PostgreSQL for all these tests; each leaves it empty."""
    with postgres.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tuneup.db'}"
    found: str = request.getfixturevalue("server_url")
    return found


NAMES = [pytest.param(name, marks=[pytest.mark.slow] if SCENARIOS[name].slow else []) for name in BUGS]


@pytest.mark.parametrize("name", NAMES)
def test_planted_bug_is_caught(name: str, url: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]
    said = {bug: _play(scenario, url, tmp_path / str(bug), bug) for bug in (None, name)}
    assert said[None] == []
    assert scenario.promise in {sentence.partition(":")[0] for sentence in said[name]}, said[name]


def _play(scenario: Scenario, url: str, folder: Path, bug: str | None) -> list[str]:
    folder.mkdir()
    with stand(url, folder, bug) as place:
        scenario.play(place)
        return place.verdict()


def test_there_are_twelve() -> None:
    assert len(BUGS) == 12
    assert BUGS.keys() == SCENARIOS.keys()
