"""Checkpoints: only whole files of earlier attempts are offered, the newest two, and a stale token adds none."""

from dataclasses import replace

from search.trials.dispatch import Claim, Dispatcher, Kept
from tests.support.ledger import Ledger, definition


def _kept(claim: Claim, step: int) -> Kept:
    path = f"{claim.attempt}-{step}.pt"
    return Kept(claim, step, path, sha256="0" * 64, size=10, values={"val_loss": 1.0 / step})


def _next_attempt(worker: Dispatcher, claim: Claim) -> Claim:
    worker.release([claim], reason="preempted")
    (again,) = worker.claim(queue="cpu", capacity=1)
    assert (again.number, again.attempt) == (claim.number, claim.attempt + 1)
    return again


def _offered(claim: Claim) -> list[tuple[str, int]]:
    return [(checkpoint.path, checkpoint.step) for checkpoint in claim.checkpoints]


def test_the_next_attempt_is_offered_the_newest_two(ledger: Ledger) -> None:
    ledger.create(definition(trials=1))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    assert claim.checkpoints == ()
    assert all(worker.keep(_kept(claim, step)) for step in (1, 2, 3))
    again = _next_attempt(worker, claim)
    assert _offered(again) == [("1-3.pt", 3), ("1-2.pt", 2)]
    assert again.checkpoints[0].values == {"val_loss": 1 / 3}
    assert len(ledger.rows("checkpoint")) == 2


def test_a_later_attempts_files_come_first_though_it_began_again(ledger: Ledger) -> None:
    """Where an older file could not be read the trial began anew, and its own first files are what stands."""
    ledger.create(definition(trials=1))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    worker.keep(_kept(claim, 8))
    worker.keep(_kept(claim, 9))
    again = _next_attempt(worker, claim)
    worker.keep(_kept(again, 1))
    third = _next_attempt(worker, again)
    assert _offered(third) == [("2-1.pt", 1), ("1-9.pt", 9)]


def test_a_stale_token_adds_no_checkpoint(ledger: Ledger) -> None:
    ledger.create(definition(trials=1))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    again = _next_attempt(worker, claim)
    before = ledger.dump()
    assert not worker.keep(_kept(claim, 7))
    assert ledger.dump() == before
    assert worker.keep(_kept(again, 7))


def test_a_later_checkpoint_of_the_same_step_replaces_the_earlier(ledger: Ledger) -> None:
    """A step may be long, and saved more than once on the way."""
    ledger.create(definition(trials=1))
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    assert worker.keep(_kept(claim, 1))
    assert worker.keep(replace(_kept(claim, 1), path="1-1-later.pt"))
    assert _offered(_next_attempt(worker, claim)) == [("1-1-later.pt", 1)]
