"""Population based training with a real worker and a real network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.ids import show_study
from tests.e2e.test_lanes import losses, posted
from tests.support.crew import Start, crew, rows, settle
from tests.support.ledger import Ledger

INTERVAL, EPOCHS = 4, 12
STUDY: dict[str, Any] = {
    "objective": {
        "recipe": "classifier",
        "data": "digits",
        "network": {"kind": "mlp", "hidden": [32]},
        "epochs": EPOCHS,
        "optimizer": "momentum",
    },
    "space": {
        "lr": {"type": "float", "low": 1e-3, "high": 1e-1, "scale": "log"},
        "momentum": {"type": "float", "low": 0.5, "high": 0.98, "scale": "reverse_log"},
        "batch_size": {"type": "categorical", "choices": [32, 64]},
    },
    "search": {"strategy": "pbt", "population": 4, "interval": INTERVAL, "quantile": 0.25, "seed": 5},
    "budget": {},
}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Ledger, Start]]:
    with crew(tmp_path) as made:
        yield made


def test_a_child_goes_on_from_where_its_parent_ended(own: tuple[Ledger, Start], tmp_path: Path) -> None:
    """One at a time, in a compiled lane, and in a stack."""
    ledger, start = own
    start()
    for execution, activation in (("single", "relu"), ("population", "relu"), ("population", "gelu")):
        network = {**STUDY["objective"]["network"], "activation": activation}
        raw = {**STUDY, "objective": {**STUDY["objective"], "network": network}}
        _check(ledger, ledger.create(posted(raw, execution=execution)), tmp_path)


def _check(ledger: Ledger, study: str, tmp_path: Path) -> None:
    trials = settle(ledger, study)
    assert [(trial.state, trial.reason) for trial in trials] == [("completed", None)] * 12
    measured = losses(ledger, study)
    assert {trial.number: sorted(step for number, step in measured if number == trial.number) for trial in trials} == {
        trial.number: list(range(trial.why["begins"] + 1, trial.why["ends"] + 1)) for trial in trials
    }
    for child in trials:
        if child.parent is not None:
            begins, scratch = child.why["begins"], measured[child.parent, child.why["begins"]]
            first = max(measured[number, 1] for number, step in measured if step == 1)
            # Not as good as where its parent ended to the last digit, but nowhere near a beginning.
            assert abs(measured[child.number, begins + 1] - scratch) < 0.25 * first
    exploring = [trial for trial in trials if trial.why["move"] == "exploit"]
    assert exploring
    assert all(trial.params["lr"] != trials[trial.parent].params["lr"] for trial in exploring)
    assert all(trial.params["batch_size"] == trials[trial.parent].params["batch_size"] for trial in exploring)
    folder = tmp_path / "checkpoints" / show_study(trials[0].study_id)
    assert {row.number for row in rows(ledger, "checkpoint", study)} >= {
        t.number for t in trials if t.why["ends"] < EPOCHS
    }
    assert {path.parent.name for path in folder.rglob("*.pt")} >= {
        str(t.parent) for t in trials if t.parent is not None
    }
