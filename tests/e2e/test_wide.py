"""A study of wide two-layer networks, trained by real workers: what each trial's sparsity was is kept with it."""

from pathlib import Path
from typing import Any

from search.definition.objectives import WIDE_TWO_LAYER
from tests.support.deployment import embedded

STUDY: dict[str, Any] = {
    "name": "wide",
    "objective": {"recipe": WIDE_TWO_LAYER.name, "data": "digits_parity", "epochs": 3},
    "metrics": [{"name": "val_accuracy", "goal": "maximize"}],
    "space": {
        "lr": {"type": "float", "low": 5.0, "high": 50.0, "scale": "log"},
        "width": {"type": "int", "low": 1000, "high": 8000, "scale": "log"},
        "threshold_factor": {"type": "float", "low": 0.2, "high": 0.5},
        "slack": {"type": "categorical", "choices": [0.25, 0.5]},
        "batch_size": {"type": "categorical", "choices": [16, 64]},
    },
    "search": {"strategy": "random", "seed": 1},
    "pruning": {"kind": "asha", "min_steps": 1},
    "budget": {"trials": 6},
}


def test_trials_are_trained_and_tell_how_sparse_they_were(tmp_path: Path) -> None:
    with embedded(tmp_path, workers=2) as running:
        study = running.client.create_study(STUDY).wait(timeout=180)
        assert study.state == "completed"
        trials = list(study.trials())
        assert {trial["state"] for trial in trials} <= {"completed", "pruned"}
        reported = {metric.name for metric in WIDE_TWO_LAYER.metrics} - {"val_mae"}
        for trial in trials:
            values = trial["values"] or {}
            assert reported <= values.keys()
            assert 0 < values["active_fraction"] < values["candidate_fraction"] <= 1
        assert (study.best()["trial"]["values"] or {})["val_accuracy"] > 0.85
