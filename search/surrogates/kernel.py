"""The covariance of scores at two points: Matern 5/2 over a distance that is learned column by column.

Rows are placed in a space where that distance is the Euclidean one: a number is a coordinate; a choice has one for each of
its values, so that different ones are equally far apart. Some columns lean on others (`Lean`): the learning rate acts as
lr / (1 - momentum) and against the batch size, so its coordinate is shifted by multiples of theirs. The multiples are
learned with the length scales; a multiple of zero is the plain space.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

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
class Placed:
    """Rows before anything is learned: coordinates (n, k) in units of their columns, and the leans' shifts (n, leans)."""

    plain: Matrix
    shifts: Matrix


class Geometry:
    """How rows of columns are told apart; `choices` says of each column how many values it has, 0 of a number."""

    def __init__(self, choices: NDArray[np.intp], leans: tuple[Lean, ...] = ()) -> None:
        self.leans = leans
        # A choice that is inactive is one more value of it.
        sizes = np.where(choices > 0, choices + 1, 1)
        # By coordinate: whose column it is, and the value it stands for, -1 of a number. By column: its first coordinate.
        self.owners = np.repeat(np.arange(len(sizes)), sizes)
        self.firsts = np.cumsum(sizes) - sizes
        self._values = np.where(choices[self.owners] > 0, np.arange(len(self.owners)) - self.firsts[self.owners], -1.0)
        self._absent = np.where(choices > 0, choices, INACTIVE)

    def place(self, rows: Matrix) -> Placed:
        """Place rows (n, columns)."""
        missing = np.isnan(rows)
        filled = np.where(missing, self._absent, rows)[:, self.owners]
        plain = np.where(self._values < 0, filled, (filled == self._values) * math.sqrt(0.5))
        shifts = np.empty((len(rows), len(self.leans)))
        for index, lean in enumerate(self.leans):
            shifts[:, index] = np.where(missing[:, lean.source], 0.0, lean.offset + lean.slope * rows[:, lean.source])
        return Placed(plain, shifts)

    def coordinates(self, hyper: Hyper, placed: Placed) -> Matrix:
        """Return coordinates (n, k) in units of the lengths, the leaning ones shifted."""
        shifted = placed.plain.copy()
        for lean, multiple, shift in zip(self.leans, hyper.multiples, placed.shifts.T, strict=True):
            shifted[:, self.firsts[lean.target]] += multiple * shift
        return np.asarray(shifted / hyper.lengths[self.owners])

    def by_column(self, hyper: Hyper, slopes: Matrix) -> Matrix:
        """Turn slopes (n, k) by coordinate into those (n, columns) by active numbers of rows; of choices they mean nothing."""
        own = slopes[:, self.firsts] / hyper.lengths
        for lean, multiple in zip(self.leans, hyper.multiples, strict=True):
            own[:, lean.source] += (
                multiple * lean.slope / hyper.lengths[lean.target] * slopes[:, self.firsts[lean.target]]
            )
        return np.asarray(own)


def covariance(signal: float, left: Matrix, right: Matrix) -> Matrix:
    """Return the covariances (n, m) of coordinates (n, k) and (m, k)."""
    return falling(signal, left, right)[0]


def falling(signal: float, left: Matrix, right: Matrix) -> tuple[Matrix, Matrix]:
    """Return covariances, and how they fall: minus the derivative of each by half the squared distance."""
    root = _ROOT5 * cdist(left, right)
    near = signal * np.exp(-root)
    linear = near * (1.0 + root)
    return linear + near * root * root / 3.0, (5.0 / 3.0) * linear
