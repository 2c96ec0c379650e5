"""A ledger on each kind of database; its promises are checked after every test."""

from collections.abc import Iterator

import pytest

from tests.support.ledger import Ledger, opened


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger."""
    with opened(database_url) as made:
        yield made
