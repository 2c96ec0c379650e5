"""How many SQL statements a batch costs: as many for one trial as for sixty-four."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from sqlalchemy import event

from models.session import Database
from models.states import TrialState
from search.trials.dispatch import Claim, Dispatcher, Ran, Report, Result
from search.trials.failures import Failure
from tests.support.ledger import Ledger, definition, done, report

T = TypeVar("T")
SIZES = [1, 64]
RAN = Ran("lane", 64, 1.0, None)


@contextmanager
def counting(database: Database) -> Iterator[list[str]]:
    """Collect the statements that are sent meanwhile, once for each set of parameters."""
    sent: list[str] = []

    def count(
        _connection: object, _cursor: object, statement: str, parameters: Any, _context: object, many: bool
    ) -> None:
        sent.extend([statement] * (len(parameters) if many else 1))

    event.listen(database.engine, "before_cursor_execute", count)
    try:
        yield sent
    finally:
        event.remove(database.engine, "before_cursor_execute", count)


def _cost(ledger: Ledger, work: Callable[[], object]) -> int:
    with counting(ledger.database) as sent:
        work()
    return len(sent)


def _claimed(ledger: Ledger, size: int, **more: Any) -> tuple[Dispatcher, list[Claim]]:
    ledger.create(definition(trials=size + 1, **more))
    worker = ledger.worker()
    return worker, worker.claim(queue="cpu", capacity=size)


@pytest.mark.parametrize("size", SIZES)
def test_a_claim(ledger: Ledger, size: int) -> None:
    ledger.create(definition(trials=100))
    worker = ledger.worker()
    worker.claim(queue="cpu", capacity=1)  # the definition is read once
    assert _cost(ledger, lambda: worker.claim(queue="cpu", capacity=size, workers=1, held=1)) == 7


@pytest.mark.parametrize("size", SIZES)
def test_a_lane_that_was_killed_and_its_next_claim(ledger: Ledger, size: int) -> None:
    worker, claims = _claimed(ledger, size)
    killed = [Result(claim, TrialState.QUEUED, failure=Failure.LANE, error="killed", ran=RAN) for claim in claims]
    assert _cost(ledger, lambda: worker.finish(killed)) == 8
    # Beside what a fresh claim costs: who waits, their checkpoints, and whether they were lost in company.
    assert _cost(ledger, lambda: worker.claim(queue="cpu", capacity=size)) == 10


@pytest.mark.parametrize("size", SIZES)
def test_a_finish(ledger: Ledger, size: int) -> None:
    worker, claims = _claimed(ledger, size)
    assert _cost(ledger, lambda: worker.finish([done(claim) for claim in claims])) == 7


@pytest.mark.parametrize("size", SIZES)
def test_a_finish_with_a_constraint(ledger: Ledger, size: int) -> None:
    metrics = [
        {"name": "val_loss", "goal": "minimize"},
        {"name": "train_loss", "goal": "minimize", "role": "constraint", "threshold": 1.0},
    ]
    worker, claims = _claimed(ledger, size, metrics=metrics)
    assert _cost(ledger, lambda: worker.finish([done(claim) for claim in claims])) == 7


@pytest.mark.parametrize("size", SIZES)
def test_a_release(ledger: Ledger, size: int) -> None:
    worker, claims = _claimed(ledger, size)
    assert _cost(ledger, lambda: worker.release(claims, reason="yielded")) == 7


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("pruning", "most"),
    [
        (None, 2),
        # Two of the five steps are rungs of asha, all five are of the median: scores, what stands, and who stops at each.
        ({"kind": "asha", "min_steps": 1}, 2 + 2 + 2),
        ({"kind": "median", "startup": 1}, 2 + 2 + 5),
        # Scores with what was decided at once, and what stands.
        ({"kind": "threshold", "upper": 0.5}, 2 + 2),
        # Scores, all of each trial, who stops, and what stands.
        ({"kind": "patience", "patience": 1}, 2 + 4),
        # As asha, and who is promoted at each rung.
        ({"kind": "asha", "mode": "promote"}, 2 + 2 + 2 * 2),
    ],
)
def test_five_steps_of_every_trial(ledger: Ledger, size: int, pruning: Any, most: int) -> None:
    worker, claims = _claimed(ledger, size, pruning=pruning)
    reports = [report(claim, step, 1 / (1 + claim.number)) for step in range(1, 6) for claim in claims]
    cost = _cost(ledger, lambda: worker.report(reports))
    assert cost == most if size > 1 else cost <= most


@pytest.mark.parametrize("size", SIZES)
def test_five_steps_of_every_trial_with_two_objectives(ledger: Ledger, size: int) -> None:
    """Scores, all losses at the rungs, who stops, and what stands: however many rungs and trials there are."""
    metrics = [{"name": name, "goal": "minimize"} for name in ("val_loss", "train_loss")]
    worker, claims = _claimed(ledger, size, pruning={"kind": "median", "startup": 1}, metrics=metrics)
    values = [dict.fromkeys(("val_loss", "train_loss"), 1 / (1 + claim.number)) for claim in claims]
    reports = [Report(claim, step, value) for step in range(1, 6) for claim, value in zip(claims, values, strict=True)]
    cost = _cost(ledger, lambda: worker.report(reports))
    assert cost == 2 + 4 if size > 1 else cost <= 2 + 4
