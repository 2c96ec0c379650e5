"""Choices side by side: which configuration speaks for each, means with intervals, ratios."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from search.analysis.comparison import Ran, compared, mean_of, ratio


def ran(optimizer: str, lr: float, repeat: int, score: float | None, state: str = "completed", **values: float) -> Ran:
    params: dict[str, Any] = {"optimizer": optimizer, "lr": lr, "repeat": repeat}
    return Ran(params, state, values, score)


def test_each_choice_is_shown_at_its_best_configuration_over_its_repeats() -> None:
    trials = [
        ran("sgd", lr, repeat, lr + repeat / 100, speed=100.0 + repeat) for lr in (0.1, 0.2) for repeat in (1, 2, 3)
    ]
    trials += [ran("kfac", lr, repeat, 0.3 - lr, speed=50.0 + repeat) for lr in (0.1, 0.2) for repeat in (1, 2, 3)]
    first, second = compared(trials, by="optimizer", baseline="sgd")
    assert (first.choice, first.params, first.runs, first.completed) == ("kfac", {"optimizer": "kfac", "lr": 0.2}, 3, 3)
    assert (second.choice, second.params["lr"]) == ("sgd", 0.1)
    assert first.values["speed"].mean == pytest.approx(52.0)
    assert first.ratios["speed"].mean == pytest.approx(52 / 102)
    assert second.ratios["speed"].mean == pytest.approx(1.0)


def test_a_configuration_of_which_a_run_was_lost_is_no_best_one() -> None:
    trials = [
        ran("sgd", 1.0, repeat, 0.1 if repeat < 3 else None, "completed" if repeat < 3 else "diverged")
        for repeat in (1, 2, 3)
    ]
    trials += [ran("sgd", 0.1, repeat, 0.2) for repeat in (1, 2, 3)]
    (row,) = compared(trials, by="optimizer", baseline="sgd")
    assert row.params["lr"] == 0.1


def test_one_that_was_run_less_often_does_not_speak_for_its_method() -> None:
    trials = [ran("sgd", 1.0, 1, 0.0), *(ran("sgd", 0.1, repeat, 0.2) for repeat in (1, 2))]
    (row,) = compared(trials, by="optimizer", baseline="sgd")
    assert (row.params["lr"], row.runs) == (0.1, 2)


def test_means_are_over_the_runs_that_reported_a_value() -> None:
    trials = [ran("sgd", 0.1, 1, 0.1, steps=30.0), ran("sgd", 0.1, 2, 0.1), ran("sgd", 0.1, 3, 0.1, steps=50.0)]
    (row,) = compared(trials, by="optimizer", baseline=None)
    assert (row.values["steps"].mean, row.values["steps"].runs) == (40.0, 2)
    assert row.ratios == {}


def test_a_target_that_not_all_runs_reached_has_no_ratio() -> None:
    trials = [ran("sgd", 0.1, repeat, 0.1, steps=20.0) for repeat in (1, 2)]
    trials += [ran("kfac", 0.1, 1, 0.05, steps=10.0), ran("kfac", 0.1, 2, 0.05)]
    kfac, sgd = compared(trials, by="optimizer", baseline="sgd")
    assert (kfac.values["steps"].mean, kfac.ratios) == (10.0, {})
    assert sgd.ratios["steps"].mean == 1.0


def test_intervals_are_those_of_student() -> None:
    values = np.random.default_rng(1).normal(3, 1, 8)
    found = mean_of(values.tolist())
    low, high = stats.t.interval(0.95, 7, values.mean(), stats.sem(values))
    assert [found.low, found.high] == pytest.approx([low, high])
    assert mean_of([2.0]).high is None


def test_intervals_of_ratios_hold_the_truth_about_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(2), 0
    for _ in range(400):
        mean, base = mean_of(rng.normal(2, 0.2, 10).tolist()), mean_of(rng.normal(1, 0.1, 10).tolist())
        found = ratio(mean, base)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 2 <= found.high
    assert held / 400 >= 0.93
    assert math.isclose(ratio(mean_of([4.0]), mean_of([2.0])).mean, 2.0)


def test_what_is_not_positive_has_no_ratio() -> None:
    (row,) = compared([ran("sgd", 0.1, 1, 0.1, memory=0.0)], by="optimizer", baseline="sgd")
    assert row.ratios == {}
