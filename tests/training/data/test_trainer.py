"""A trainer finds the file that a study names in the folder that its worker says, and fails clearly where there is none."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.training.supervisor import Supervisor

GOAL = {"recipe": "classifier", "data": "mine", "network": {"kind": "mlp", "hidden": [8]}, "epochs": 3}


@pytest.fixture
def trainer() -> Iterator[Supervisor]:
    supervisor = Supervisor()
    assert supervisor.receive()["type"] == "ready"
    yield supervisor
    supervisor.close()


def test_the_workers_folder_is_looked_into(trainer: Supervisor, tmp_path: Path) -> None:
    _, done = trainer.run(GOAL, {}, data=str(tmp_path))
    assert done["outcome"] == "failed"
    assert done["reason"].startswith(f"ValueError: unknown data 'mine': {tmp_path} has no mine{{.npz,.csv,.parquet}}")
    inputs = np.random.default_rng(1).normal(size=(200, 3))
    np.savez(tmp_path / "mine.npz", inputs=inputs, targets=(inputs[:, 0] > 0).astype(int))
    seen, done = trainer.run(GOAL, {"lr": 0.1}, data=str(tmp_path))
    assert done["outcome"] == "completed"
    assert seen[-1]["values"]["val_accuracy"] > 0.8
    seen, done = trainer.run(GOAL | {"recipe": "regressor"}, {"lr": 0.1}, data=str(tmp_path))
    assert done["reason"] == (
        "ValueError: the data mine are for classification: use the recipe classifier, or store the targets as floats, such "
        "as 3.0"
    )


def test_a_file_that_cannot_be_used_says_what_is_wrong_with_it(trainer: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("age,target\n" + "3,0\n4,1\n" * 10 + ",1\n")
    _, done = trainer.run(GOAL, {}, data=str(tmp_path))
    assert (done["outcome"], done["error"] is None) == ("failed", False)
    assert (
        done["reason"] == "ValueError: mine.csv: the column 'age' of row 21 is empty: fill it in, or leave the row out"
    )
