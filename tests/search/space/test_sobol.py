"""Sobol's sequence: the published one underneath, and what scrambling keeps of it."""

import numpy as np
import pytest
from scipy.stats import qmc

from search.space.sobol import MOST_DIMENSIONS, SobolSequence, directions


def test_the_direction_numbers_are_scipys() -> None:
    """The other library goes through the points in the order of Gray's code, so point i of it is ours at i ^ (i >> 1)."""
    columns = np.array(directions(MOST_DIMENSIONS))

    def plain(index: int) -> list[float]:
        bits = [bit for bit in range(8) if index >> bit & 1]
        return list(np.bitwise_xor.reduce(columns[:, bits], axis=1) * 2.0**-52)

    published = qmc.Sobol(MOST_DIMENSIONS, scramble=False, bits=52).random(256)
    assert [plain(index ^ index >> 1) for index in range(256)] == published.tolist()


@pytest.mark.parametrize("seed", [0, 1, 2**53 - 1])
def test_each_interval_has_one_of_the_first_points(seed: int) -> None:
    points = np.array([SobolSequence(MOST_DIMENSIONS, seed=seed)(index) for index in range(128)])
    assert ((points >= 0) & (points < 1)).all()
    assert (np.sort(np.floor(points * 128), axis=0) == np.arange(128)[:, None]).all()


@pytest.mark.parametrize("wide", range(8))
def test_each_box_of_the_first_two_coordinates_has_one(wide: int) -> None:
    points = np.array([SobolSequence(2, seed=5)(index) for index in range(128)])
    boxes = np.floor(points * [2**wide, 2 ** (7 - wide)])
    assert len({tuple(box) for box in boxes.tolist()}) == 128


def test_seeds_give_other_points_and_all_are_spread_better_than_random_ones() -> None:
    points = [np.array([SobolSequence(6, seed=seed)(index) for index in range(64)]) for seed in range(8)]
    assert len({tuple(each[0]) for each in points}) == 8
    random = [qmc.discrepancy(np.random.default_rng(seed).random((64, 6))) for seed in range(8)]
    assert max(map(qmc.discrepancy, points)) < min(random) / 2


def test_there_are_no_more_dimensions_than_a_space_may_have() -> None:
    with pytest.raises(ValueError, match="64 dimensions, not 65"):
        SobolSequence(65, seed=1)
