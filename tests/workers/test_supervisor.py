"""The supervisor without a trainer: its heartbeats, and what it says about itself."""

import time
from collections.abc import Iterator

import pytest

from search.dispatch import Claim
from tests.support.ledger import Ledger, definition, opened
from workers.supervisor import Habits, Supervisor


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger; one kind of database will do here."""
    with opened(sqlite_url) as made:
        yield made


@pytest.fixture
def supervisor(ledger: Ledger) -> Supervisor:
    """Make a supervisor whose threads do not run."""
    return Supervisor(ledger.database, Habits(queue="cpu", device="0"), nudge=lambda _: None, clock=ledger.clock)


def _hold(ledger: Ledger, supervisor: Supervisor, trials: int = 1) -> list[Claim]:
    ledger.create(definition(trials=trials))
    claims = supervisor.dispatcher.claim(queue="cpu", capacity=trials)
    supervisor._held.update({claim.token: claim for claim in claims})
    return claims


def test_a_heartbeat_moves_every_lease_and_shows_the_worker(ledger: Ledger, supervisor: Supervisor) -> None:
    _hold(ledger, supervisor, 2)
    for _ in range(3):
        supervisor._beat()
    assert [row.beat for row in ledger.rows("lease")] == [3, 3]
    (worker,) = ledger.rows("worker")
    assert (worker.id, worker.queue, worker.device) == (supervisor.worker, "cpu", "0")


def test_a_lost_lease_is_heard_of_at_the_next_heartbeat(ledger: Ledger, supervisor: Supervisor) -> None:
    (claim,) = _hold(ledger, supervisor)
    assert supervisor._why_stop(claim.token) is None
    supervisor.dispatcher.release([claim], reason="lost")
    supervisor._beat()
    assert supervisor._why_stop(claim.token) == "stale"


def test_heartbeats_keep_their_pace_while_it_stops(ledger: Ledger, supervisor: Supervisor) -> None:
    _hold(ledger, supervisor)
    beats = supervisor._threads[0]
    supervisor.ask_to_stop()
    beats.start()
    time.sleep(0.5)
    moved = ledger.rows("lease")[0].beat
    supervisor._held.clear()
    supervisor.close()
    beats.join(timeout=20)
    assert not beats.is_alive()
    assert moved <= 2


def test_it_says_goodbye(ledger: Ledger, supervisor: Supervisor) -> None:
    supervisor._beat()
    supervisor.close()
    (worker,) = ledger.rows("worker")
    assert worker.stopped_at == ledger.clock()
    assert supervisor.turn() == 0
