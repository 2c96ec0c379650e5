"""Workers say that they are there, and hear how many serve their queue."""

from datetime import timedelta
from typing import Any

from models.workers import greet, part
from tests.support.ledger import Ledger

HEARTBEAT = 10.0


def _greet(ledger: Ledger, name: str, *, objective: str | None = None, **more: Any) -> int:
    """Return how many serve the worker's queue, or how many of them could run this."""
    row = {
        "id": name,
        "host": "here",
        "pid": 1,
        "queue": "cpu",
        "device": None,
        "capacity": 1,
        "objectives": [],
        "started_at": ledger.clock(),
        "seen_at": ledger.clock(),
        **more,
    }
    peers = ledger.database.write(lambda connection: greet(connection, row, heartbeat_seconds=HEARTBEAT))
    return peers.able(objective)


def test_workers_of_a_queue_are_counted(ledger: Ledger) -> None:
    assert _greet(ledger, "a") == 1
    assert _greet(ledger, "b") == 2
    assert _greet(ledger, "c", queue="gpu") == 1
    assert _greet(ledger, "a") == 2


def test_those_are_counted_that_have_registered_what_is_needed(ledger: Ledger) -> None:
    _greet(ledger, "a", objectives=["mine", "ours"])
    _greet(ledger, "b", objectives=["ours"])
    _greet(ledger, "c", queue="gpu", objectives=["mine"])
    counts = {name: _greet(ledger, "d", objective=name) for name in ("mine", "ours", "theirs", None)}
    assert counts == {"mine": 1, "ours": 2, "theirs": 0, None: 3}


def test_who_has_missed_three_heartbeats_counts_no_more(ledger: Ledger) -> None:
    _greet(ledger, "silent")
    ledger.clock.move(3 * HEARTBEAT)
    assert _greet(ledger, "a") == 2
    ledger.clock.move(0.001)
    assert _greet(ledger, "a") == 1
    assert _greet(ledger, "silent") == 2


def test_who_has_said_goodbye_counts_no_more(ledger: Ledger) -> None:
    _greet(ledger, "gone")
    ledger.database.write(lambda connection: part(connection, "gone", ledger.clock()))
    assert _greet(ledger, "a") == 1
    assert _greet(ledger, "gone") == 2


def test_a_row_is_renewed(ledger: Ledger) -> None:
    began = ledger.clock()
    _greet(ledger, "a")
    ledger.clock.move(5)
    _greet(ledger, "a", capacity=64, objectives=["mine"], started_at=ledger.clock())
    (row,) = ledger.rows("worker")
    assert (row.capacity, row.objectives, row.started_at) == (64, ["mine"], began)
    assert row.seen_at == began + timedelta(seconds=5)
