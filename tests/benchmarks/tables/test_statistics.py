import math

import numpy as np
import pytest

from benchmarks.tables.lattice import Lattice
from benchmarks.tables.statistics import foresight, luck, near, noise, spread
from benchmarks.tables.table import Curves, Table, finals

SPACE = {"lr": {"type": "float", "low": 0.0, "high": 3.0, "levels": [0.0, 1.0, 2.0, 3.0]}}


def table(runs: list[list[list[float]]]) -> Table:
    losses = np.array(runs)
    diverged = ~np.isfinite(losses[..., -1])
    curves = Curves(losses, np.zeros(losses.shape), np.isfinite(losses).sum(axis=-1), diverged, 1)
    return Table("made up", {}, SPACE, Lattice.of(SPACE), curves, finals(curves).mean(axis=1))


# Seeds differ by a factor of e^2 around the mean of each point; the last point diverges.
MADE = table(
    [
        [[9.0, math.e], [9.0, 1 / math.e]],
        [[8.0, 10 * math.e], [8.0, 10 / math.e]],
        [[7.0, 100 * math.e], [7.0, 100 / math.e]],
        [[9.0, math.inf], [9.0, math.inf]],
    ]
)


def test_noise_is_over_seeds_and_spread_between_points() -> None:
    assert noise(MADE) == pytest.approx(math.sqrt(2))
    assert noise(MADE, share=0.34) == pytest.approx(math.sqrt(2))
    assert spread(MADE) == pytest.approx(math.log(10) * math.sqrt(2 / 3))


def test_points_near_the_best_are_counted_among_all() -> None:
    assert near(MADE) == 0.25


def test_foresight_is_by_rank_of_runs_that_completed() -> None:
    assert foresight(MADE, 1) == pytest.approx(-1.0)
    assert foresight(MADE, 2) == pytest.approx(1.0)


def test_luck_is_what_the_winner_of_other_seeds_comes_to() -> None:
    assert luck(MADE) == pytest.approx(0.0), "the same point wins with either seed, and comes to its mean"
    swapped = table([[[1.0, 1.0], [1.0, 5.0]], [[1.0, 5.0], [1.0, 1.0]], [[1.0, 9.0]] * 2, [[1.0, 9.0]] * 2])
    assert luck(swapped) == pytest.approx((5 - 3) / (6 - 3)), "each wins with one seed, and is the worse with the other"
