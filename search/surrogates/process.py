"""A Gaussian process over the rows of a space: its hyperparameters by their most probable values, its posterior.

C. E. Rasmussen and C. K. I. Williams, "Gaussian processes for machine learning", 2006, chapters 2 and 5. Scores come
standardized. Every observation may be noisier than the rest by a variance of its own (`extra`).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize

from search.surrogates.columns import Matrix
from search.surrogates.kernel import Differences, Geometry, Hyper, covariance, falling, leaning, squared

_ITERATIONS = 40
_JITTER = 1e-8
# Believed of the logarithms of length scales, signal and noise before anything was seen: (middle, spread).
_LENGTH = (math.log(0.6), 0.9)
_SIGNAL = (0.0, 1.0)
_NOISE = (math.log(1e-3), 2.0)
_LEAST_NOISE = 1e-6


def fit(geometry: Geometry, rows: Matrix, scores: Matrix, extra: Matrix) -> Hyper:
    """Return the most probable hyperparameters for standardized `scores` (n,) at `rows` (n, columns)."""
    found = geometry.differences(rows, rows)
    count, leans = rows.shape[1], len(geometry.leans)
    middle, spread = _beliefs(geometry, count)
    low, high = middle - 4 * spread, middle + 4 * spread
    low[-1] = math.log(_LEAST_NOISE)

    def loss(free: Matrix) -> tuple[float, Matrix]:
        value, slope = _likelihood(geometry, _hyper(free, count, leans), found, scores, extra)
        away = (free - middle) / spread
        return value + 0.5 * float(away @ away), slope + away / spread

    best = minimize(
        loss,
        middle,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(low, high, strict=True)),
        options={"maxiter": _ITERATIONS, "ftol": 1e-5, "gtol": 1e-3},
    )
    return _hyper(best.x, count, leans)


def _beliefs(geometry: Geometry, count: int) -> tuple[Matrix, Matrix]:
    """Return middle and spread of what is believed of all that is free, in the order of `_hyper`."""
    longer = _LENGTH[0] + 0.5 * math.log(max(count, 1) / 2)
    middle = [longer] * count + [lean.expected for lean in geometry.leans] + [_SIGNAL[0], _NOISE[0]]
    spread = [_LENGTH[1]] * count + [lean.spread for lean in geometry.leans] + [_SIGNAL[1], _NOISE[1]]
    return np.array(middle), np.array(spread)


def _hyper(free: Matrix, count: int, leans: int) -> Hyper:
    lengths, multiples = np.exp(free[:count]), free[count : count + leans]
    return Hyper(lengths, multiples, float(np.exp(free[-2])), float(np.exp(free[-1])))


def _likelihood(
    geometry: Geometry, hyper: Hyper, found: Differences, scores: Matrix, extra: Matrix
) -> tuple[float, Matrix]:
    """Return minus the log likelihood and its slope by the logarithms (and plain multiples) of `hyper`."""
    steps = leaning(geometry.leans, hyper.multiples, found)
    squares = squared(hyper, steps)
    plain = covariance(hyper, squares)
    noisy = plain + np.diag(hyper.noise + extra + _JITTER)
    factor, failed = dpotrf(noisy, lower=1)
    if failed:
        return 1e10, np.zeros(len(hyper.lengths) + len(hyper.multiples) + 2)
    weights = cho_solve((factor, True), scores)
    inverse, _ = dpotri(factor, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    value = 0.5 * float(scores @ weights) + float(np.log(np.diag(factor)).sum())
    pull = inverse - np.outer(weights, weights)
    near = pull * falling(hyper, squares)
    by_length = 0.5 * np.einsum("nm,dnm->d", near, steps * steps) / hyper.lengths**2
    by_multiple = [
        -0.5 * float((near * steps[lean.target] * shift).sum()) / hyper.lengths[lean.target] ** 2
        for lean, shift in zip(geometry.leans, found.leans, strict=True)
    ]
    by_signal = 0.5 * float((pull * plain).sum())
    by_noise = 0.5 * hyper.noise * float(pull.trace())
    return value, np.array([*by_length, *by_multiple, by_signal, by_noise])


@dataclass(slots=True)
class Process:
    """What is believed after seeing scores at rows; `add` takes in one more row at a time."""

    geometry: Geometry
    hyper: Hyper
    rows: Matrix
    scores: Matrix
    factor: Matrix  # lower Cholesky factor of the covariance of what was seen
    weights: Matrix

    def predict(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        """Return mean and standard deviation of the score, noise apart, at `rows` (m, columns)."""
        across = self.across(rows)
        return np.asarray(across @ self.weights), self.deviation(across)

    def across(self, rows: Matrix) -> Matrix:
        """Return the covariances (m, n) of rows with all that was seen."""
        return self.between(rows, self.rows)

    def between(self, left: Matrix, right: Matrix) -> Matrix:
        """Return the covariances of two sets of rows."""
        steps = leaning(self.geometry.leans, self.hyper.multiples, self.geometry.differences(left, right))
        return covariance(self.hyper, squared(self.hyper, steps))

    def solve(self, across: Matrix) -> Matrix:
        """Return what of covariances (m, n) is explained by each thing seen, shape (n, m)."""
        return np.asarray(solve_triangular(self.factor, across.T, lower=True, check_finite=False))

    def deviation(self, across: Matrix) -> Matrix:
        """Return the standard deviations at rows with these covariances."""
        solved = self.solve(across)
        return np.asarray(np.sqrt(np.maximum(self.hyper.signal - np.einsum("nm,nm->m", solved, solved), 1e-12)))

    def slopes(self, row: Matrix, columns: NDArray[np.intp]) -> tuple[float, float, Matrix, Matrix]:
        """Return mean, deviation and their slopes by the number `columns` (indices) of one row."""
        found = self.geometry.differences(row[None, :], self.rows)
        steps = leaning(self.geometry.leans, self.hyper.multiples, found)
        squares = squared(self.hyper, steps)
        across = covariance(self.hyper, squares)[0]
        mean = float(across @ self.weights)
        solved = cho_solve((self.factor, True), across, check_finite=False)
        deviation = math.sqrt(max(self.hyper.signal - float(across @ solved), 1e-12))
        scaled = -falling(self.hyper, squares)[0] * steps[:, 0, :] / self.hyper.lengths[:, None] ** 2
        moved = scaled[columns]
        for lean, multiple in zip(self.geometry.leans, self.hyper.multiples, strict=True):
            if not np.isnan(row[lean.source]):
                moved = moved + (columns == lean.source)[:, None] * (multiple * lean.slope) * scaled[lean.target]
        return mean, deviation, moved @ self.weights, -(moved @ solved) / deviation


def condition(geometry: Geometry, hyper: Hyper, rows: Matrix, scores: Matrix, extra: Matrix) -> Process:
    """Return the belief after seeing standardized `scores` at `rows`."""
    steps = leaning(geometry.leans, hyper.multiples, geometry.differences(rows, rows))
    noisy = covariance(hyper, squared(hyper, steps)) + np.diag(hyper.noise + extra + _JITTER)
    factor, failed = dpotrf(noisy, lower=1, clean=1)
    if failed:
        noisy += np.diag(np.full(len(rows), 1e-3 * hyper.signal))
        factor, _ = dpotrf(noisy, lower=1, clean=1)
    return Process(geometry, hyper, rows, scores, factor, cho_solve((factor, True), scores))


def extend(process: Process, row: Matrix) -> Process:
    """Return the belief if the score at one more row turned out as expected: nothing is learned but where one looked."""
    across = process.across(row[None, :])[0]
    solved = solve_triangular(process.factor, across, lower=True, check_finite=False)
    size = len(across)
    hyper = process.hyper
    corner = math.sqrt(max(hyper.signal + hyper.noise + _JITTER - float(solved @ solved), 1e-10))
    factor = np.zeros((size + 1, size + 1))
    factor[:size, :size], factor[size, :size], factor[size, size] = process.factor, solved, corner
    scores = np.append(process.scores, across @ process.weights)
    weights = cho_solve((factor, True), scores, check_finite=False)
    return Process(process.geometry, hyper, np.vstack([process.rows, row]), scores, factor, weights)
