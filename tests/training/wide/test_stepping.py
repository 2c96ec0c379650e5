"""Runs of the recipe wide-two-layer: what they report, that ways change nothing, and that they can be interrupted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search.definition.objectives import RECIPES
from tests.training.recorder import Measured, Recorder, measure
from training import checkpoint, recipes
from training.files import Saved
from training.memory import OutOfMemory
from training.recipes import WIDE
from training.state import Snapshot
from training.watch import Pause
from training.wide.network import threads_worth

GOAL = {"recipe": WIDE, "data": "digits_parity", "epochs": 3, "width": 2000, "batch_size": 16, "lr": 20.0}
WAYS = ("dense", "lists", "auto", "ball_tree", "correlation_tree")
LOSSES = ("train_loss", "val_loss")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def run(**options: Any) -> Measured:
    outcome, measured = measure({**GOAL, **options}, {})
    assert outcome.outcome == "completed"
    return measured


def test_it_learns_even_from_odd() -> None:
    *_, (_, last) = run(width=10_000, epochs=8, lr=50.0)
    assert last["val_accuracy"] >= 0.97
    assert last["active_fraction"] < 0.05


def test_it_reports_what_the_catalog_says() -> None:
    offered = {metric.name for metric in RECIPES[WIDE].metrics}
    for data, measures in (("digits_parity", {"val_mae"}), ("diabetes", {"val_accuracy"})):
        for _, values in run(data=data):
            assert values.keys() == offered - measures


@pytest.mark.parametrize("activation", ["shifted_relu", "shifted_squared_relu", "top_k"])
def test_ways_change_nothing(activation: str) -> None:
    common = {"activation": activation, "weight_decay": 1e-4, "warmup": 0.2}
    dense, *others = (run(reporter=way, **common) for way in WAYS)
    for other in others:
        for (_, one), (_, two) in zip(dense, other, strict=True):
            assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-4)
            assert one["val_loss"] == pytest.approx(two["val_loss"], rel=1e-4)
            assert one["active_fraction"] == pytest.approx(two["active_fraction"], rel=1e-3)
    assert dense[0][1]["candidate_fraction"] >= 1
    assert 0 < others[0][0][1]["candidate_fraction"] < 0.5


@pytest.mark.parametrize("way", WAYS)
def test_rates_that_are_too_high_show(way: str) -> None:
    outcome, _ = measure({**GOAL, "reporter": way, "lr": 1e6}, {})
    assert outcome.outcome == "diverged"


def test_strong_decay_is_a_factor_that_is_folded_in() -> None:
    decay = {"weight_decay": 2e-3, "lr": 10.0, "epochs": 4}  # a hundredth is left of the weights after 228 of 360 steps
    dense, lists = run(reporter="dense", **decay), run(reporter="lists", **decay)
    for (_, one), (_, two) in zip(dense, lists, strict=True):
        assert one["val_loss"] == pytest.approx(two["val_loss"], rel=1e-4)
    outcome, _ = measure({**GOAL, "weight_decay": 0.1}, {})
    assert outcome.outcome == "diverged"
    assert outcome.reason == "lr times weight_decay must be under 1, got 20 times 0.1"


def test_threads_change_no_step() -> None:
    goal = {**GOAL, "reporter": "lists", "width": 13_000, "batch_size": 128, "epochs": 2}
    one, two = Recorder(), Recorder()
    for threads, watch in ((1, one), (2, two)):
        assert recipes.run(goal, {}, seed=1, watch=watch, threads=threads).outcome == "completed"
    assert len(one.seen) == len(two.seen) == 2
    for (_, values), (_, others) in zip(one.seen, two.seen, strict=True):
        assert values["train_loss"] == others["train_loss"]
        assert values["val_loss"] == pytest.approx(others["val_loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("width", "features", "batch_size", "most", "threads"),
    [
        (16_384, 64, 32, 16, 1),
        (1_000_000, 64, 1, 16, 1),
        (100_000, 64, 16, 16, 2),
        (100_000, 64, 128, 16, 16),
        (100_000, 64, 128, 4, 4),
        (2, 1, 1, 4, 1),
    ],
)
def test_threads_are_taken_where_they_pay(width: int, features: int, batch_size: int, most: int, threads: int) -> None:
    wide = recipes.prepare({**GOAL, "width": width}, {}).plan.wide
    assert wide is not None
    assert threads_worth(wide, features, batch_size, most=most) == threads


def test_paired_neurons_begin_as_nothing() -> None:
    given = recipes.prepare({**GOAL, "initialisation": "paired"}, {})
    params = given.network.init(torch.Generator().manual_seed(0))
    inputs, _ = given.data.val.rows(torch.arange(50))
    assert given.network.apply(params, inputs).abs().max() < 1e-5


def test_neurons_in_pairs_are_an_even_number() -> None:
    given = recipes.prepare({**GOAL, "initialisation": "paired", "width": 1001}, {})
    assert len(given.network.init(torch.Generator().manual_seed(0))[0]) == 1000


def test_inputs_lie_on_the_sphere_and_can_be_cut() -> None:
    data = recipes.prepare({**GOAL, "train_examples": 100}, {}).data
    for part in (data.train, data.val):
        inputs, _ = part.rows(torch.arange(len(part)))
        assert (inputs.norm(dim=1) - 1).abs().max() < 1e-6
    assert (len(data.train), data.shape) == (100, (64,))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold_by": "fixed", "threshold": 20.0}, "no neuron was active in a whole epoch at the threshold 20"),
        ({"threshold_by": "share", "active_share": 0.9, "lr": 1.0}, "of the neurons were active at the threshold 0"),
        (
            {"threshold_factor": 0.0, "width": 1000},
            "50% of the neurons were active at the threshold 0: nothing is sparse",
        ),
        (
            {"activation": "top_k", "active_share": 0.9},
            "90% of the neurons were active: nothing is sparse, a lower active_share is faster",
        ),
    ],
)
def test_what_makes_it_pointless_is_said(options: dict[str, Any], said: str) -> None:
    outcome, measured = measure({**GOAL, **options}, {})
    assert outcome.outcome == "completed"
    assert said in (outcome.reason or "")
    assert len(measured) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adam"}, "trains the recipe wide-two-layer alone"),
        ({"data": "imports"}, "needs numbers or pictures, and imports has tokens"),
        ({"device": "gpu"}, "float32 on a CPU, got 'gpu'"),
        ({"precision": "bfloat16"}, "float32 on a CPU, got 'bfloat16'"),
    ],
)
def test_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure({**GOAL, **options}, {})


def test_lists_that_memory_does_not_hold_are_refused_or_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.wide.stepping.free_bytes", lambda _: 100_000)
    with pytest.raises(ValueError, match="margin lists of 1437 inputs and 2000 neurons need about"):
        measure({**GOAL, "reporter": "lists"}, {})
    assert {values["listed_steps"] for _, values in run()} == {0.0}


def test_a_network_that_memory_does_not_hold_is_refused_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.wide.network.free_bytes", lambda _: 1_000_000)
    with pytest.raises(OutOfMemory, match="2000 neurons of 64 weights need about 2 MiB, and 1 are free"):
        measure(GOAL, {})


def test_a_measured_run_tells_what_it_cost() -> None:
    *_, (_, last) = run(measured={"test": 0.2})
    assert {"test_accuracy", "examples_per_second"} <= last.keys()


class Interrupted:
    """Saves and stops after so many batches, and goes on from what was saved."""

    def __init__(self, folder: Path, stop_after: int | None) -> None:
        self.path = folder / "run.pt"
        self.saved: Saved | None = None
        self.seen: Measured = []
        self._left = stop_after

    def resume(self, fits: Callable[[Snapshot], bool]) -> Snapshot | None:
        found = None if self.saved is None else checkpoint.read(self.saved)
        assert found is None or fits(found)
        return found

    def report(self, step: int, values: dict[str, float]) -> None:
        self.seen.append((step, values))

    def between(self) -> Pause:
        if self._left is None:
            return Pause.NONE
        self._left -= 1
        return Pause.SAVE | Pause.STOP if self._left == 0 else Pause.NONE

    def save(self, step: int, snapshot: Snapshot) -> None:
        self.saved, self._left = checkpoint.write(self.path, step, snapshot), None


@pytest.mark.parametrize("way", ["lists", "ball_tree", "correlation_tree"])
def test_an_interrupted_run_takes_the_very_same_steps(way: str, tmp_path: Path) -> None:
    goal = {**GOAL, "reporter": way, "weight_decay": 1e-4}
    whole = run(**goal)
    watch = Interrupted(tmp_path, stop_after=130)  # batches and reports: within the second epoch
    assert recipes.run(goal, {}, seed=1, watch=watch).outcome == "stopped"
    assert watch.saved is not None
    assert recipes.run(goal, {}, seed=1, watch=watch).outcome == "completed"
    for (step, one), (other, two) in zip(whole, watch.seen, strict=True):
        assert step == other
        assert [one[name] for name in LOSSES] == [two[name] for name in LOSSES]
