"""What a trial of several metrics ends as on a worker."""

from collections.abc import Iterator
from typing import Any

import pytest

from models.states import TrialState
from tests.support.ledger import Ledger, definition, opened
from workers.running import Run

METRICS = [
    {"name": "val_loss", "goal": "minimize"},
    {"name": "val_accuracy", "goal": "maximize"},
    {"name": "train_loss", "goal": "minimize", "role": "constraint", "threshold": 1.0},
]


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger; one kind of database will do here."""
    with opened(sqlite_url) as made:
        yield made


@pytest.mark.parametrize(
    ("values", "state", "reason"),
    [
        ({"val_loss": 1.0, "val_accuracy": 0.5}, TrialState.COMPLETED, None),  # infeasible, yet a result
        ({"val_loss": 1.0, "train_loss": 0.5}, TrialState.FAILED, "without a value of 'val_accuracy'"),
        ({"train_loss": 0.5}, TrialState.FAILED, "without a value of 'val_loss', 'val_accuracy'"),
    ],
)
def test_a_result_has_every_objective(
    ledger: Ledger, values: dict[str, Any], state: TrialState, reason: str | None
) -> None:
    ledger.create(definition(metrics=METRICS))
    run = Run(ledger.worker().claim(queue="cpu", capacity=1)[0])
    run.set_out(0.0)
    run.measured(1, values, 1.0)
    run.hear({"type": "done", "trial": run.claim.id, "outcome": "completed"}, 2.0)
    result = run.result()
    assert result is not None
    assert (result.target, (result.reason or "").partition("it completed ")[2]) == (
        state,
        f"{reason}, which is to be optimized" if reason else "",
    )
