"""The benchmark of pruning with two objectives: what a point costs, and what no pruning loses."""

import pytest

from benchmarks.pruning_fronts import Fronts, cost, lost, noise, study
from benchmarks.tables.table import load
from search.definition.prunings import AshaPruning


def test_steps_cost_by_their_logarithm() -> None:
    """By hand, of 142 examples to train on: 9, 5, 3 and 2 steps an epoch."""
    wine = load("wine_mlp")
    points = {point["batch_size"]: point for point in wine.points}
    costs = [cost(wine, points[size]) for size in (16, 32, 64, 128)]
    assert costs == pytest.approx([1.0, 0.6092, 0.2696, 0.0], abs=1e-4)


def test_without_a_rung_nothing_is_lost_or_saved() -> None:
    never = AshaPruning(kind="asha", min_steps=1000)
    runs = [study(load("wine_mlp"), never, trials=20, workers=4, seed=seed) for seed in range(3)]
    assert [(run.pruned, run.share) for run in runs] == [(run.whole, 1.0) for run in runs]
    assert noise(runs) > 0


def test_pruning_saves_epochs() -> None:
    run = study(load("wine_mlp"), AshaPruning(kind="asha", min_steps=3), trials=40, workers=4, seed=0)
    assert run == study(load("wine_mlp"), AshaPruning(kind="asha", min_steps=3), trials=40, workers=4, seed=0)
    assert run.share < 0.5


def test_losses_are_means_with_their_errors() -> None:
    runs = [Fronts(whole=1.0, again=0.5, pruned=0.75, share=0.5), Fronts(whole=1.0, again=1.25, pruned=1.0, share=0.5)]
    assert lost(runs) == (0.125, 0.125)
    assert noise(runs) == 0.375
