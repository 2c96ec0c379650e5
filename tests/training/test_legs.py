"""A run in legs, each from the checkpoint of the one before: the run that was never divided, if nothing was changed."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.test_resume import MLP, Tape
from training import checkpoint, recipes
from training.files import Saved

EPOCHS = 6
PARAMS = {"optimizer": "adam", "lr": 0.01, "schedule": "cosine", "warmup": 0.3}


def leg(tape: Tape, begins: int, ends: int, *, seed: int = 11, **params: Any) -> str:
    goal = {"recipe": "classifier", "data": "iris", "network": MLP, "epochs": EPOCHS, "begins": begins, "ends": ends}
    return recipes.run(goal, PARAMS | params, seed=seed, watch=tape).outcome


def after(folder: Path, saved: Saved) -> Tape:
    """Return a tape of a run that goes on from this file."""
    folder.mkdir()
    tape = Tape(folder, save_at=set())
    tape.go_on_from = saved
    return tape


def whole(folder: Path) -> Tape:
    tape = Tape(folder, save_at=set())
    assert leg(tape, 0, EPOCHS) == "completed"
    return tape


def first(folder: Path) -> tuple[Tape, Saved]:
    tape = Tape(folder, save_at=set())
    assert leg(tape, 0, 2) == "completed"
    (saved,) = tape.saved.values()
    return tape, saved


def test_legs_with_the_same_parameters_are_one_run(tmp_path: Path) -> None:
    """Whatever their seeds: what is drawn is drawn at the beginning."""
    undivided = whole(tmp_path)
    assert undivided.saved == {}
    begun, saved = first(tmp_path)
    assert saved.step == 2
    middle = after(tmp_path / "middle", saved)
    assert leg(middle, 2, 4, seed=12) == "completed"
    last = after(tmp_path / "last", next(iter(middle.saved.values())))
    assert leg(last, 4, EPOCHS, seed=13) == "completed"
    assert begun.measured + middle.measured + last.measured == undivided.measured
    assert last.saved == {}


def test_a_child_has_hyperparameters_of_its_own(tmp_path: Path) -> None:
    undivided = whole(tmp_path)
    _, saved = first(tmp_path)
    child = after(tmp_path / "child", saved)
    assert leg(child, 2, 4, lr=1e-9) == "completed"
    # With next to no rate it stays where its parent ended, up to the rounding of a mean.
    ended = dict(undivided.measured)[2]
    assert [step for step, _ in child.measured] == [3, 4]
    assert all(values["val_loss"] == pytest.approx(ended["val_loss"], abs=1e-5) for _, values in child.measured)
    found = checkpoint.read(next(iter(child.saved.values())))
    assert found is not None
    assert found["epoch"] == 4


def test_without_its_parents_checkpoint_a_child_does_not_begin_anew(tmp_path: Path) -> None:
    tape = Tape(tmp_path, save_at=set())
    with pytest.raises(ValueError, match="its parent's checkpoint of epoch 2 is not in the folder"):
        leg(tape, 2, 4)
    assert tape.measured == []
