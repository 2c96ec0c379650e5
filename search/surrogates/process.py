"""A Gaussian process over the rows of a space: its hyperparameters by their most probable values, its posterior.

C. E. Rasmussen and C. K. I. Williams, "Gaussian processes for machine learning", 2006, chapters 2 and 5. Scores come
standardized. Every observation may be noisier than the rest by a variance of its own (`extra`).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrtrs
from scipy.optimize import minimize

from search.surrogates.columns import Matrix
from search.surrogates.kernel import Geometry, Hyper, Placed, covariance, falling

_ITERATIONS = 40
_JITTER = 1e-8
# Believed of the logarithms of length scales, signal and noise before anything was seen: (middle, spread).
_LENGTH = (math.log(0.6), 0.9)
_SIGNAL = (0.0, 1.0)
_NOISE = (math.log(1e-3), 2.0)
_LEAST_NOISE = 1e-6


def fit(geometry: Geometry, rows: Matrix, scores: Matrix, extra: Matrix) -> Hyper:
    """Return the most probable hyperparameters for standardized `scores` (n,) at `rows` (n, columns)."""
    placed = geometry.place(rows)
    count, leans = rows.shape[1], len(geometry.leans)
    middle, spread = _beliefs(geometry, count)
    low, high = middle - 4 * spread, middle + 4 * spread
    low[-1] = math.log(_LEAST_NOISE)

    def loss(free: Matrix) -> tuple[float, Matrix]:
        value, slope = _likelihood(geometry, _hyper(free, count, leans), placed, scores, extra)
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
    geometry: Geometry, hyper: Hyper, placed: Placed, scores: Matrix, extra: Matrix
) -> tuple[float, Matrix]:
    """Return minus the log likelihood and its slope by the logarithms (and plain multiples) of `hyper`."""
    places = geometry.coordinates(hyper, placed)
    plain, fall = falling(hyper.signal, places, places)
    factor, failed = dpotrf(plain + np.diag(hyper.noise + extra + _JITTER), lower=1)
    if failed:
        return 1e10, np.zeros(len(hyper.lengths) + len(hyper.multiples) + 2)
    weights, _ = dpotrs(factor, scores, lower=1)
    inverse, _ = dpotri(factor, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    value = 0.5 * float(scores @ weights) + float(np.log(np.diag(factor)).sum())
    pull = inverse - np.outer(weights, weights)
    # Of a symmetric A half the sum of A_ij (x_i - x_j) (y_i - y_j) is x' (diag(A 1) - A) y.
    near = pull * fall
    apart = places * near.sum(axis=1)[:, None] - near @ places
    by_length = np.bincount(geometry.owners, (places * apart).sum(axis=0))
    by_multiple = [
        -float(apart[:, geometry.firsts[lean.target]] @ shift) / hyper.lengths[lean.target]
        for lean, shift in zip(geometry.leans, placed.shifts.T, strict=True)
    ]
    by_signal = 0.5 * float((pull * plain).sum())
    by_noise = 0.5 * hyper.noise * float(pull.trace())
    return value, np.array([*by_length, *by_multiple, by_signal, by_noise])


@dataclass(slots=True)
class Process:
    """What is believed after seeing scores at rows, which have these coordinates."""

    geometry: Geometry
    hyper: Hyper
    rows: Matrix
    places: Matrix
    scores: Matrix
    factor: Matrix  # lower Cholesky factor of the covariance of what was seen
    weights: Matrix

    def predict(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        """Return mean and standard deviation of the score, noise apart, at `rows` (m, columns)."""
        across = self.across(self.place(rows))
        solved = self.solve(across)
        variance = self.hyper.signal - np.einsum("nm,nm->m", solved, solved)
        return np.asarray(across @ self.weights), np.sqrt(np.maximum(variance, 1e-12))

    def place(self, rows: Matrix) -> Matrix:
        """Return the coordinates (m, k) of rows."""
        return self.geometry.coordinates(self.hyper, self.geometry.place(rows))

    def across(self, places: Matrix) -> Matrix:
        """Return the covariances (m, n) of coordinates with all that was seen."""
        return covariance(self.hyper.signal, places, self.places)

    def solve(self, across: Matrix) -> Matrix:
        """Return what of covariances (m, n) is explained by each thing seen, shape (n, m)."""
        return np.asarray(dtrtrs(self.factor, across.T, lower=1)[0])

    def slopes(self, rows: Matrix) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        """Return means and deviations (m,) at rows, and their slopes (m, columns) by the numbers of each."""
        places = self.place(rows)
        across, fall = falling(self.hyper.signal, places, self.places)
        solved = dpotrs(self.factor, across.T, lower=1)[0].T
        deviation = np.sqrt(np.maximum(self.hyper.signal - np.einsum("mn,mn->m", across, solved), 1e-12))
        by_mean, by_explained = (
            self.geometry.by_column(self.hyper, pulled @ self.places - pulled.sum(axis=1)[:, None] * places)
            for pulled in (fall * self.weights, fall * solved)
        )
        return across @ self.weights, deviation, by_mean, -by_explained / deviation[:, None]


def condition(geometry: Geometry, hyper: Hyper, rows: Matrix, scores: Matrix, extra: Matrix) -> Process:
    """Return the belief after seeing standardized `scores` at `rows`."""
    places = geometry.coordinates(hyper, geometry.place(rows))
    noisy = covariance(hyper.signal, places, places) + np.diag(hyper.noise + extra + _JITTER)
    factor, failed = dpotrf(noisy, lower=1, clean=1)
    if failed:
        noisy += np.diag(np.full(len(rows), 1e-3 * hyper.signal))
        factor, _ = dpotrf(noisy, lower=1, clean=1)
    return Process(geometry, hyper, rows, places, scores, factor, dpotrs(factor, scores, lower=1)[0])


def extend(process: Process, rows: Matrix) -> Process:
    """Return the belief if the scores at more rows (m, columns) turned out as expected: only where one looked is learned."""
    hyper, places = process.hyper, process.place(rows)
    across = process.across(places)
    solved = process.solve(across)
    own = covariance(hyper.signal, places, places) + np.diag(np.full(len(rows), hyper.noise + _JITTER))
    corner, failed = dpotrf(own - solved.T @ solved, lower=1, clean=1)
    if failed:
        corner = np.diag(np.sqrt(np.maximum(np.diag(own) - np.einsum("nm,nm->m", solved, solved), 1e-10)))
    size = len(process.scores)
    factor = np.zeros((size + len(rows), size + len(rows)), order="F")
    factor[:size, :size], factor[size:, :size], factor[size:, size:] = process.factor, solved.T, corner
    scores = np.concatenate([process.scores, across @ process.weights])
    rows, places = np.vstack([process.rows, rows]), np.vstack([process.places, places])
    return Process(process.geometry, hyper, rows, places, scores, factor, dpotrs(factor, scores, lower=1)[0])
