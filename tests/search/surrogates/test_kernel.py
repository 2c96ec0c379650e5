"""Rows placed so that the distance that is learned is the Euclidean one: against the distance written out."""

import itertools

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from search.surrogates.columns import Matrix
from search.surrogates.kernel import INACTIVE, Geometry, Hyper, Lean, covariance, falling

LEANS = (Lean(0, 3, 0.2, 0.7, 1.0, 0.5), Lean(0, 1, -0.1, 0.4, 0.5, 0.5))
GEOMETRY = Geometry(np.array([0, 0, 3, 0, 2]), LEANS)
HYPER = Hyper(np.array([0.5, 0.8, 1.5, 0.3, 0.9]), np.array([0.8, -0.3]), 1.7, 0.01)


def rows(count: int) -> Matrix:
    rng = np.random.default_rng(4)
    found = rng.random((count, 5))
    found[:, 2], found[:, 4] = rng.integers(3, size=count), rng.integers(2, size=count)
    found[rng.random((count, 5)) < 0.2] = np.nan
    return found


def acting(row: Matrix) -> Matrix:
    """Return the numbers of a row as they act, inactive ones in their places."""
    filled = np.where(np.isnan(row), INACTIVE, row)
    for lean, multiple in zip(LEANS, HYPER.multiples, strict=True):
        if not np.isnan(row[lean.source]):
            filled[lean.target] += multiple * (lean.offset + lean.slope * row[lean.source])
    return np.asarray(filled)


def written_out(left: Matrix, right: Matrix) -> float:
    apart = acting(left) - acting(right)
    for choice in (2, 4):
        alike = left[choice] == right[choice] or bool(np.isnan(left[choice]) and np.isnan(right[choice]))
        apart[choice] = 0.0 if alike else 1.0
    return float(((apart / HYPER.lengths) ** 2).sum())


def test_distances_are_those_written_out() -> None:
    points = rows(30)
    places = GEOMETRY.coordinates(HYPER, GEOMETRY.place(points))
    for left, right in itertools.combinations(range(30), 2):
        squared = float(((places[left] - places[right]) ** 2).sum())
        assert squared == pytest.approx(written_out(points[left], points[right]), rel=1e-12, abs=1e-12)


def test_how_covariances_fall_is_their_derivative() -> None:
    here = np.array([[0.3, -0.2]])

    def at(half: Matrix) -> float:
        return float(covariance(1.7, here, here + np.array([[np.sqrt(2 * half[0]), 0.0]]))[0, 0])

    half = np.array([0.4])
    fall = falling(1.7, here, here + np.array([[np.sqrt(0.8), 0.0]]))[1][0, 0]
    assert -fall == pytest.approx(approx_fprime(half, at, 1e-7)[0], rel=1e-5)
