"""The Gaussian process: slopes against differences, the posterior against the textbook, learning against a known truth."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import norm

from search.surrogates import process as processes
from search.surrogates.columns import Matrix
from search.surrogates.improvement import log_improvement, slope
from search.surrogates.kernel import Geometry, Lean, covariance
from search.surrogates.process import Process, condition, extend, fit

GEOMETRY = Geometry(np.array([0, 0, 3, 0]), (Lean(0, 3, 0.2, 0.7, 1.0, 0.5),))


def rows(count: int, seed: int = 0) -> Matrix:
    rng = np.random.default_rng(seed)
    found = rng.random((count, 4))
    found[:, 2] = np.floor(found[:, 2] * 3)
    found[: count // 4, 3] = np.nan
    return found


def scores(points: Matrix) -> Matrix:
    raw = np.sin(5 * points[:, 0]) + points[:, 1] + 0.3 * (points[:, 2] == 1)
    return np.asarray((raw - raw.mean()) / raw.std())


def learned(count: int = 30) -> Process:
    points = rows(count)
    values = scores(points)
    hyper = fit(GEOMETRY, points, values, np.zeros(count))
    return condition(GEOMETRY, hyper, points, values, np.zeros(count))


def test_the_slope_of_the_likelihood() -> None:
    points = rows(25)
    values, extra = scores(points), np.full(25, 0.01)
    placed = GEOMETRY.place(points)

    def at(free: Matrix) -> tuple[float, Matrix]:
        return processes._likelihood(GEOMETRY, processes._hyper(free, 4, 1), placed, values, extra)

    free = np.array([-0.3, 0.1, 0.5, 0.2, 0.8, 0.1, -3.0])
    np.testing.assert_allclose(at(free)[1], approx_fprime(free, lambda x: at(x)[0], 1e-6), rtol=1e-3, atol=1e-4)


def test_the_posterior_is_that_of_the_textbook() -> None:
    made = learned()
    points = rows(10, seed=5)
    noisy = made.across(made.places) + np.diag(np.full(30, made.hyper.noise + 1e-8))
    across = made.across(made.place(points))
    mean = across @ np.linalg.solve(noisy, made.scores)
    variance = made.hyper.signal - np.einsum("mn,nm->m", across, np.linalg.solve(noisy, across.T))
    found, deviation = made.predict(points)
    np.testing.assert_allclose(found, mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(deviation, np.sqrt(variance), rtol=1e-4, atol=1e-6)


def test_a_point_added_one_by_one_is_as_if_it_had_been_there() -> None:
    made, point = learned(), rows(4, seed=6)[3]
    expected = made.predict(point[None, :])[0]
    whole = condition(
        GEOMETRY, made.hyper, np.vstack([made.rows, point]), np.append(made.scores, expected), np.zeros(31)
    )
    probes = rows(10, seed=7)
    for left, right in zip(extend(made, point[None, :]).predict(probes), whole.predict(probes), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("best", [0.5, -1.0, -8.0, -60.0])
def test_the_slope_of_the_improvement(best: float) -> None:
    made, point, free = learned(), rows(4, seed=8)[3], np.array([0, 1, 3])
    mean, deviation, by_mean, by_deviation = made.slopes(np.stack([rows(1, seed=9)[0], point]))

    def at(values: Matrix) -> float:
        there = point.copy()
        there[free] = values
        return float(log_improvement(*made.predict(there[None, :]), best)[0])

    values, slopes = slope(mean, deviation, best, by_mean, by_deviation)
    assert values[1] == pytest.approx(at(point[free]), rel=1e-6)
    np.testing.assert_allclose(slopes[1, free], approx_fprime(point[free], at, 1e-6), rtol=2e-3, atol=1e-3)


def test_log_improvement_is_the_logarithm_of_the_integral() -> None:
    away = np.linspace(-6, 3, 19)
    plain = np.log(norm.pdf(away) + away * norm.cdf(away))
    np.testing.assert_allclose(log_improvement(-away, np.ones(19), 0.0), plain, rtol=1e-9)
    far = log_improvement(np.array([50.0, 1e5]), np.ones(2), 0.0)
    assert np.isfinite(far).all()
    assert far[0] > far[1]


def test_it_learns_which_columns_matter_and_how_they_lean() -> None:
    rng = np.random.default_rng(3)
    points = rng.random((80, 4))
    points[:, 2] = np.floor(points[:, 2] * 3)
    raw = np.sin(4 * (points[:, 0] + 0.9 * (0.2 + 0.7 * points[:, 3])))
    values = (raw - raw.mean()) / raw.std()
    hyper = fit(GEOMETRY, points, values, np.zeros(80))
    assert hyper.lengths[0] < 0.5 * min(hyper.lengths[1], hyper.lengths[2], hyper.lengths[3])
    assert hyper.multiples[0] == pytest.approx(0.9, abs=0.15)
    assert hyper.noise < 0.01


def test_covariances_are_those_of_a_covariance_function() -> None:
    made = learned()
    places = made.place(rows(40))
    matrix = covariance(made.hyper.signal, places, places)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9
