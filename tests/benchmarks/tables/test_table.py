import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tables.packing import PRECISION
from benchmarks.tables.table import Curves, Table, load, names, store
from tests.support.sources import ROOT

SPACE = {"lr": {"type": "float", "low": 0.01, "high": 1.0, "scale": "log", "levels": [0.01, 0.1, 1.0]}}
LOSSES = np.array(
    [
        [[2.0, 1.5, 1.0], [2.1, 1.7, 1.4]],
        [[1.0, 0.5, 0.2], [0.9, 0.6, 0.4]],
        [[3.0, np.inf, np.inf], [2.0, 4.0, 9.0]],  # one diverged in its second epoch, one was found so at its end
    ]
)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Three points, two seeds, three epochs."""
    reached = np.isfinite(LOSSES).sum(axis=-1)
    diverged = np.array([[False, False], [False, False], [True, True]])
    accuracies = np.where(np.isfinite(LOSSES), [0.25, 0.5, 0.75], 0.0)
    store("small", {"epochs": 3}, SPACE, Curves(LOSSES, accuracies, reached, diverged, 4), folder=tmp_path)
    return load("small", folder=tmp_path)


def test_curves_are_those_of_the_nearest_point(table: Table) -> None:
    assert (len(table.points), table.seeds, table.epochs) == (3, 2, 3)
    assert table.nearest({"lr": 0.2}) == {"lr": 0.1}
    assert table.curve({"lr": 0.2}, 1) == pytest.approx(LOSSES[1, 1], rel=PRECISION)
    assert table.accuracy({"lr": 0.2}, 1).tolist() == [0.25, 0.5, 0.75]
    assert table.final({"lr": 0.2}, 0) == pytest.approx(0.2, rel=PRECISION)
    assert table.diverged_in({"lr": 0.2}, 0) is None


def test_a_run_that_diverged_has_no_result(table: Table) -> None:
    assert table.curve({"lr": 1}, 0) == pytest.approx([3.0, math.inf, math.inf], rel=PRECISION)
    assert table.curve({"lr": 1}, 1) == pytest.approx([2.0, 4.0, 9.0], rel=PRECISION)
    assert table.accuracy({"lr": 1}, 0).tolist() == [0.25, 0.0, 0.0]
    assert table.final({"lr": 1}, 0) == table.final({"lr": 1}, 1) == math.inf
    assert (table.diverged_in({"lr": 1}, 0), table.diverged_in({"lr": 1}, 1)) == (2, 3)
    assert table.mean({"lr": 1}) == table.regret({"lr": 1}) == table.normalised_regret({"lr": 1}) == math.inf


def test_regret_is_counted_from_the_best_mean(table: Table) -> None:
    assert table.best == pytest.approx(0.3, rel=PRECISION)
    assert table.best_point == {"lr": 0.1}
    assert table.median == pytest.approx(1.2, rel=PRECISION)
    assert table.regret({"lr": 0.1}) == table.normalised_regret({"lr": 0.1}) == 0.0
    assert table.regret({"lr": 0.01}) == pytest.approx(0.9, rel=0.01)
    assert table.normalised_regret({"lr": 0.01}) == pytest.approx(1.0)


def test_what_is_returned_is_the_callers_own(table: Table) -> None:
    table.curve({"lr": 0.1}, 0)[:] = 0.0
    assert table.curve({"lr": 0.1}, 0)[0] > 0


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no table 'none'; valid: .*digits_mlp"):
        load("none")


def test_reading_takes_numpy_alone() -> None:
    script = "import sys; from benchmarks.tables.table import load; load('digits_mlp'); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
    assert "digits_mlp" in names()
