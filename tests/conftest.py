"""Real services for the tests, started only for those that ask.

postgres_url      a new empty database on PostgreSQL        sqlite_url      a database file that does not exist yet
database_url      the test once with each of the two        redis_url       an empty database on Redis
broker            a Redis of the test's own that it may stop and start again
browser_page      a page of headless Chromium

A service that cannot be had fails the test and says how to get it. See `tests/support`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support import browser, postgres, redis_server

# How long an example takes is the machine's affair.
settings.register_profile("untimed", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Yield the URL of a server's maintenance database, for `postgres.fresh_database`."""
    with postgres.server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Yield the `postgresql+psycopg://` URL of a new empty database, dropped after the test."""
    with postgres.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'tuneup.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a new empty database, for each kind that the ledger supports."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url


@pytest.fixture
def redis_url() -> Iterator[str]:
    """Yield the URL of an empty Redis database that no other test uses."""
    with redis_server.database() as url:
        yield url


@pytest.fixture
def broker() -> Iterator[redis_server.Broker]:
    """Yield a Redis server that this test may stop and start."""
    own = redis_server.Broker()
    yield own
    own.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Yield one headless browser for the session."""
    program = browser.executable()
    if program is None:
        raise RuntimeError(browser.REMEDY)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, headless=True, args=list(browser.FLAGS))
        yield running
        running.close()


@pytest.fixture
def browser_page(chromium: Browser) -> Iterator[Page]:
    """Yield an empty page in a context of its own."""
    context = chromium.new_context()
    yield context.new_page()
    context.close()
