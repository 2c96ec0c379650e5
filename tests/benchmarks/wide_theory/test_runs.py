"""When a training came to a loss, as heard batch by batch, against what its epochs report."""

import statistics
from typing import Any

import pytest

from benchmarks.wide_theory.runs import WINDOW, Passages, reports, steps_to

OPTIONS: dict[str, Any] = {
    "data": "even_quadratic",
    "train_examples": WINDOW * 10,
    "epochs": 8,
    "width": 256,
    "batch_size": 10,
    "lr": 20.0,
    "reporter": "dense",
}


def test_a_passage_is_the_first_step_whose_last_batches_are_low_enough() -> None:
    losses = [1.0 / (1 + step) for step in range(200)]
    passages = Passages([0.1, 0.02, 0.001])
    for loss in losses:
        passages.take(loss)
    for target in (0.1, 0.02):
        step = passages.found[target]
        assert statistics.fmean(losses[step - WINDOW : step]) <= target
        assert statistics.fmean(losses[step - 1 - WINDOW : step - 1]) > target
    assert 0.001 not in passages.found
    assert not passages.complete


def test_nothing_is_found_before_there_are_enough_batches() -> None:
    passages = Passages([1.0])
    for step in range(WINDOW):
        assert (step, passages.complete) == (step, False)
        passages.take(0.5)
    assert passages.found == {1.0: WINDOW}


def test_passages_are_those_of_the_epochs() -> None:
    """An epoch has as many batches as the window, so that its training loss is the mean over the window at its end."""
    losses = [values["train_loss"] for values in reports(OPTIONS, seed=3)]
    assert losses[2] > losses[3]
    (found,) = steps_to([losses[3] * (1 + 1e-6)], OPTIONS, seed=3).values()
    assert 3 * WINDOW < found.steps <= 4 * WINDOW
    assert found.epochs == found.steps / WINDOW


def test_a_loss_that_is_not_come_to_is_absent() -> None:
    assert steps_to([1e-12], OPTIONS, seed=3) == {}


def test_a_run_ends_where_its_examples_are_learned() -> None:
    whole = reports(OPTIONS, seed=3)
    cut = reports(OPTIONS, seed=3, fits=whole[2]["train_loss"])
    assert [values["train_loss"] for values in cut] == [values["train_loss"] for values in whole[:3]]


def test_a_run_that_diverges_is_said() -> None:
    with pytest.raises(RuntimeError, match="seed 3: epoch 1"):
        reports({**OPTIONS, "lr": 1e6}, seed=3)
