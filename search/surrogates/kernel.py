"""The covariance of scores at two points: Matern 5/2 over a distance that is learned column by column.

Numbers differ by how far apart they are, choices by being different. Some columns lean on others (`Lean`): the learning
rate acts as lr / (1 - momentum) and against the batch size, so its column is shifted by multiples of theirs. The
multiples are learned with the length scales; a multiple of zero is the plain space.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from search.surrogates.columns import Matrix

_ROOT5 = math.sqrt(5.0)
INACTIVE = 0.5  # the place of a number that is not there; that it is not is told by its parent's column


@dataclass(frozen=True, slots=True)
class Lean:
    """Column `target` acts as its own number plus a multiple of (`offset` + `slope` * column `source`), 0 if inactive.

    The multiple is believed to be `expected`, give or take `spread`.
    """

    target: int
    source: int
    offset: float
    slope: float
    expected: float
    spread: float


@dataclass(frozen=True, slots=True)
class Hyper:
    """What is learned: scales by column, the multiples of the leans, and variances of signal and noise."""

    lengths: Matrix
    multiples: Matrix
    signal: float
    noise: float


@dataclass(frozen=True, slots=True)
class Differences:
    """What the kernel needs of two sets of points: differences by number column, inequality by choice column."""

    steps: Matrix  # (columns, n, m); of a choice column 0 or 1
    leans: Matrix  # (leans, n, m)


@dataclass(frozen=True, slots=True)
class Geometry:
    """How rows of columns are told apart."""

    choices: Matrix
    leans: tuple[Lean, ...] = field(default=())

    def differences(self, left: Matrix, right: Matrix) -> Differences:
        """Compare every row on the left with every row on the right."""
        filled_left, filled_right = _filled(left), _filled(right)
        steps = filled_left.T[:, :, None] - filled_right.T[:, None, :]
        if self.choices.any():
            steps[self.choices] = steps[self.choices] != 0.0
        shifts = [_shift(lean, left)[:, None] - _shift(lean, right)[None, :] for lean in self.leans]
        return Differences(steps, np.stack(shifts) if shifts else np.empty((0, len(left), len(right))))


def _filled(rows: Matrix) -> Matrix:
    return np.where(np.isnan(rows), INACTIVE, rows)


def _shift(lean: Lean, rows: Matrix) -> Matrix:
    source = rows[:, lean.source]
    return np.where(np.isnan(source), 0.0, lean.offset + lean.slope * source)


def leaning(leans: Sequence[Lean], multiples: Matrix, found: Differences) -> Matrix:
    """Return the differences with every target shifted by its multiples; shape (columns, n, m)."""
    if not leans:
        return found.steps
    steps = found.steps.copy()
    for lean, multiple, shift in zip(leans, multiples, found.leans, strict=True):
        steps[lean.target] += multiple * shift
    return steps


def covariance(hyper: Hyper, squares: Matrix) -> Matrix:
    """Return the covariances for squared scaled distances."""
    root = _ROOT5 * np.sqrt(squares)
    return np.asarray(hyper.signal * (1.0 + root + root * root / 3.0) * np.exp(-root))


def falling(hyper: Hyper, squares: Matrix) -> Matrix:
    """Return minus the derivative of the covariance by half the squared scaled distance."""
    root = _ROOT5 * np.sqrt(squares)
    return np.asarray(hyper.signal * (5.0 / 3.0) * (1.0 + root) * np.exp(-root))


def squared(hyper: Hyper, steps: Matrix) -> Matrix:
    """Return squared distances, each column in units of its length."""
    return np.asarray(np.einsum("dnm,d->nm", steps * steps, hyper.lengths**-2.0))
