"""The Parzen estimator: its densities are densities, its draws follow them, and its batches begin like single calls."""

import math

import numpy as np

from search.surrogates import parzen
from search.surrogates.columns import Matrix
from tests.search.surrogates.test_columns import columns

LINE = {"x": {"type": "float", "low": 0.0, "high": 1.0}, "kind": {"type": "categorical", "choices": ["a", "b", "c"]}}


def every(row: Matrix) -> bool:
    del row
    return True


def test_a_density_has_a_mass_of_one() -> None:
    made = columns(LINE)
    found = parzen.density(made, made.draw(np.random.default_rng(0), 7))
    x, kind = made.place["x"], made.place["kind"]
    grid = (np.arange(2000) + 0.5) / 2000
    mass = 0.0
    for code in range(3):
        rows = np.empty((2000, 2))
        rows[:, x], rows[:, kind] = grid, code
        mass += float(np.exp(found.log(rows)).mean()) / 3
    assert math.isclose(mass, 1.0, rel_tol=1e-3)


def test_draws_follow_the_density() -> None:
    made = columns(LINE)
    rows = np.empty((20, 2))
    rows[:, made.place["x"]], rows[:, made.place["kind"]] = 0.3, 1
    drawn = parzen.density(made, rows).draw(np.random.default_rng(1), 4000)
    assert abs(np.median(drawn[:, made.place["x"]]) - 0.3) < 0.02
    assert 0.7 < (drawn[:, made.place["kind"]] == 1).mean() < 0.99


def test_a_call_for_more_points_begins_like_one_for_fewer() -> None:
    made = columns()
    rng = np.random.default_rng(2)
    best, rest, pending = made.draw(rng, 10), made.draw(rng, 90), made.draw(rng, 3)
    few, many = (parzen.propose(made, best, rest, pending, np.random.default_rng(5), count, every) for count in (5, 70))
    assert len(many) == 70
    for left, right in zip(few, many, strict=False):
        np.testing.assert_array_equal(left, right)


def test_points_of_a_batch_keep_away_from_each_other() -> None:
    made = columns(LINE)
    rng = np.random.default_rng(3)
    best = made.draw(rng, 10)
    batch = np.array(parzen.propose(made, best, made.draw(rng, 90), best[:0], rng, 16, every))
    assert len(np.unique(np.round(batch[:, made.place["x"]], 3))) > 10


def test_many_bad_results_are_thinned() -> None:
    rows = np.arange(10_000.0)[:, None]
    thin = parzen.thinned(rows, 400)
    assert len(thin) == 400
    assert (thin[0, 0], thin[-1, 0]) == (0.0, 9999.0)


def test_one_kernel_is_a_column_of_many() -> None:
    made = columns()
    rng = np.random.default_rng(4)
    found, centre = parzen.density(made, made.draw(rng, 12)), made.draw(rng, 1)
    rows = made.draw(rng, 50)
    np.testing.assert_allclose(found.kernel(rows, centre[0]), found.kernels(rows, centre)[:, 0], atol=1e-12)
