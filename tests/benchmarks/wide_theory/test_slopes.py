"""Powers fitted to points whose power is known."""

import math
import random
import statistics

import pytest

from benchmarks.wide_theory.slopes import Slope, power


def test_a_pure_power_is_found_without_error() -> None:
    found = power([(x, 3.0 * x**-0.5) for x in (1.0, 2.0, 5.0, 40.0)])
    assert found is not None
    assert found.slope == pytest.approx(-0.5)
    assert found.error == pytest.approx(0.0, abs=1e-9)


def test_the_standard_error_is_how_far_fits_scatter() -> None:
    rng, found = random.Random(1), []
    for _ in range(2000):
        fitted = power([(x, x**2 * math.exp(rng.gauss(0, 0.1))) for x in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)])
        assert fitted is not None
        assert fitted.error is not None
        found.append((fitted.slope, fitted.error**2))
    slopes, variances = zip(*found, strict=True)
    assert statistics.fmean(slopes) == pytest.approx(2.0, abs=0.01)
    assert statistics.fmean(variances) == pytest.approx(statistics.variance(slopes), rel=0.1)


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)], [(3.0, 2.0), (3.0, 4.0)]])
def test_too_few_points_have_no_slope(points: list[tuple[float, float]]) -> None:
    assert power(points) is None


def test_two_points_have_a_slope_and_no_error() -> None:
    found = power([(1.0, 1.0), (2.0, 4.0)])
    assert found is not None
    assert found.slope == pytest.approx(2.0)
    assert found.error is None


def test_it_is_written_with_its_error() -> None:
    assert (str(Slope(-0.5, 0.04)), str(Slope(1.0, None))) == ("-0.50 (s.e. 0.04)", "1.00")
