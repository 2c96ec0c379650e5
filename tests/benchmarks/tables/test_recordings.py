"""The tables in the repository: they are those that `RECORDINGS` describes, and training is still what they say it is."""

import numpy as np
import pytest
import torch

from benchmarks.tables.packing import PRECISION
from benchmarks.tables.record import train
from benchmarks.tables.recordings import RECORDINGS
from benchmarks.tables.table import FOLDER, finals, load, names

# Of points where a difference in the last bit stays one: other processors round in other places.
CALM = [
    {"batch_size": 64, "optimizer": "sgd", "lr": 0.1, "warmup": 0.1},
    {"batch_size": 128, "optimizer": "nesterov", "lr": 0.01, "warmup": 0.0, "momentum": 0.8},
    {"batch_size": 32, "optimizer": "adam", "lr": 0.001, "warmup": 0.3},
]


def test_each_is_recorded_and_all_are_small() -> None:
    assert set(names()) == set(RECORDINGS)
    assert sum(path.stat().st_size for path in FOLDER.glob("*.npz")) < 1.6e6


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_a_table_is_the_one_described(name: str) -> None:
    table, recording = load(name), RECORDINGS[name]
    assert (table.objective, table.space) == (recording.objective, recording.space)
    shape = len(table.points), recording.seeds, recording.objective["epochs"]
    curves = table.curves
    assert curves.losses.shape == curves.accuracies.shape == shape
    assert curves.reached.shape == curves.diverged.shape == shape[:2]
    assert np.all((curves.reached == shape[2]) | curves.diverged)
    assert np.all(np.isfinite(curves.losses) == (np.arange(shape[2]) < curves.reached[..., None]))
    assert np.all((curves.accuracies >= 0) & (curves.accuracies <= 1))


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_tuning_matters(name: str) -> None:
    """The best is far from the middle, hardly any two points come to the same, and few diverge."""
    table = load(name)
    completed = table.means[np.isfinite(table.means)]
    assert table.best < table.median / 2
    assert len(np.unique(completed)) > 0.9 * len(completed)
    assert np.isfinite(finals(table.curves)).mean() > 0.8


@pytest.mark.parametrize("params", CALM, ids=lambda params: params["optimizer"])
def test_training_a_point_again_gives_its_curve(params: dict[str, float]) -> None:
    """As long as neither the data's split, nor initialisation, nor a rule or schedule changes."""
    table, recording = load("digits_mlp"), RECORDINGS["digits_mlp"]
    point, row = table.nearest(params), table.lattice.row(params)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ((seen, ending),) = train(recording, table.lattice, [row * table.seeds + 1])
    finally:
        torch.set_num_threads(threads)
    assert ending.outcome == "completed"
    assert seen.losses == pytest.approx(table.curve(point, 1), rel=1.1 * PRECISION)
    assert seen.accuracies == pytest.approx(table.accuracy(point, 1))
