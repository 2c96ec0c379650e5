from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tables.record import Ledger
from benchmarks.tables.recordings import Recording
from benchmarks.tables.table import load, store

OBJECTIVE = {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [4]}, "epochs": 3}
RATES = [0.01, 0.1, 1e5]
SPACE = {"lr": {"type": "float", "low": 0.01, "high": 1e5, "scale": "log", "levels": RATES}}
SMALL = Recording(OBJECTIVE | {"optimizer": "sgd"}, SPACE, seeds=2)


def test_one_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    whole = Ledger("small", SMALL, folder=tmp_path / "whole")
    whole.train(whole.left)
    first = Ledger("small", SMALL, folder=tmp_path)
    assert first.left == [0, 1, 2, 3, 4, 5]
    first.train([0, 1, 5])
    second = Ledger("small", SMALL, folder=tmp_path)
    assert second.left == [2, 3, 4]
    second.train(second.left)
    assert second.left == []
    assert second.curves().losses == pytest.approx(whole.curves().losses, rel=1e-3)
    assert np.array_equal(second.curves().diverged, whole.curves().diverged)


def test_another_recording_of_that_name_begins_anew(tmp_path: Path) -> None:
    Ledger("small", SMALL, folder=tmp_path).train([0])
    assert len(Ledger("small", replace(SMALL, seeds=3), folder=tmp_path).left) == 9
    ledger = Ledger("small", SMALL, folder=tmp_path)
    ledger.forget()
    assert len(Ledger("small", SMALL, folder=tmp_path).left) == 6


def test_what_was_trained_becomes_a_table_and_runs_that_diverge_are_marked(tmp_path: Path) -> None:
    ledger = Ledger("small", SMALL, folder=tmp_path)
    ledger.train(ledger.left)
    store("iris", SMALL.objective, SMALL.space, ledger.curves(), folder=tmp_path)
    table = load("iris", folder=tmp_path)
    assert (len(table.points), table.seeds, table.epochs) == (3, 2, 3)
    assert table.curves.examples == 30
    assert table.diverged_in({"lr": 1e5}, 0) == table.diverged_in({"lr": 1e5}, 1) == 1
    assert table.diverged_in({"lr": 0.1}, 0) is None
    assert table.curve({"lr": 0.1}, 0)[-1] < table.curve({"lr": 0.1}, 0)[0]
    assert table.final({"lr": 0.1}, 0) != table.final({"lr": 0.1}, 1), "each run has a seed of its own"
