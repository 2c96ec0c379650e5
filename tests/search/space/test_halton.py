"""Halton's sequence: each base fills its coordinate evenly, and permutations take away its lines."""

import numpy as np
import pytest
from scipy.stats import qmc

from search.space.halton import HaltonSequence


@pytest.mark.parametrize(("place", "base", "power"), [(0, 2, 7), (1, 3, 4), (2, 5, 3), (9, 29, 2), (63, 311, 1)])
def test_each_interval_has_one_of_the_first_points(place: int, base: int, power: int) -> None:
    sequence = HaltonSequence(64, seed=3)
    number = base**power
    coordinates = [sequence(index)[place] for index in range(number)]
    assert sorted(int(x * number + 1e-9) for x in coordinates) == list(range(number))


def test_points_are_spread_better_than_random_ones() -> None:
    points = [np.array([HaltonSequence(6, seed=seed)(index) for index in range(64)]) for seed in range(8)]
    random = [qmc.discrepancy(np.random.default_rng(seed).random((64, 6))) for seed in range(8)]
    assert max(map(qmc.discrepancy, points)) < min(random) / 1.5


def test_the_first_points_of_large_bases_are_no_line() -> None:
    """The plain sequence starts i/307, i/311: its first hundred points lie on the diagonal."""
    sequence = HaltonSequence(64, seed=1)
    last = np.array([sequence(index)[-2:] for index in range(100)])
    assert abs(np.corrcoef(last.T)[0, 1]) < 0.4


def test_coordinates_stay_below_one() -> None:
    points = np.array([HaltonSequence(64, seed=9)(index) for index in [*range(50), 10**6, 2**40]])
    assert points.min() >= 0
    assert points.max() < 1
