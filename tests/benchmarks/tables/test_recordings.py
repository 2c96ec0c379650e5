"""The tables in the repository: they are those that `RECORDINGS` describes, and training is still what they say it is."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.tables.lattice import Lattice
from benchmarks.tables.packing import PRECISION
from benchmarks.tables.record import Follower, train
from benchmarks.tables.recordings import RECORDINGS
from benchmarks.tables.table import FOLDER, finals, load, names
from search.definition.parse import parse_study
from training import recipes

DIGITS = RECORDINGS["digits_mlp"]
LATTICE = Lattice.of(DIGITS.space)
SEED = 1
# Of points where a difference in the last bit stays one: other processors round in other places.
CALM: list[dict[str, Any]] = [
    {"batch_size": 64, "optimizer": "sgd", "lr": 0.1, "warmup": 0.1},
    {"batch_size": 128, "optimizer": "nesterov", "lr": 0.01, "warmup": 0.0, "momentum": 0.8},
    {"batch_size": 32, "optimizer": "adam", "lr": 0.001, "warmup": 0.3},
]


def number_of(params: dict[str, Any]) -> int:
    return LATTICE.row(params) * DIGITS.seeds + SEED


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


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_objective_and_space_make_a_study(name: str) -> None:
    """One that the service takes, and whose grid has the very points of the table."""
    table = load(name)
    metric = {"name": "val_loss", "goal": "minimize"}
    study = {"name": name, "objective": table.objective, "metrics": [metric], "space": table.space}
    definition = parse_study(study | {"search": {"strategy": "grid"}})
    assert definition.budget.trials == len(table.points)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the tables were recorded."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def agree(seen: Follower, params: dict[str, Any]) -> None:
    """They are the recorded curves, to the precision that was stored."""
    table = load("digits_mlp")
    assert seen.losses == pytest.approx(table.curve(params, SEED), rel=1.1 * PRECISION)
    assert seen.accuracies == pytest.approx(table.accuracy(params, SEED))


@pytest.mark.usefixtures("one_thread")
def test_training_points_again_gives_their_curves() -> None:
    """As long as neither the split of the data, nor initialisation, nor a rule or schedule changes."""
    found = list(train(DIGITS, LATTICE, [number_of(params) for params in CALM]))
    assert [ending.outcome for _, ending in found] == ["completed"] * len(CALM)
    for params, (seen, _) in zip(CALM, found, strict=True):
        agree(seen, params)


@pytest.mark.usefixtures("one_thread")
def test_so_does_training_one_alone() -> None:
    seen = Follower()
    recipes.run(DIGITS.objective, LATTICE.nearest(CALM[0]), seed=number_of(CALM[0]), watch=seen)
    agree(seen, CALM[0])
