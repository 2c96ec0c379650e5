"""Tree-structured Parzen estimator: propose where good points are dense and bad ones are not.

J. Bergstra et al., "Algorithms for hyper-parameter optimization", 2011; densities over all columns together as in S. Falkner
et al., "BOHB", 2018, widths and the share that counts as good as in S. Watanabe, "Tree-structured Parzen estimator:
understanding its algorithm components", 2023. A kernel that lacks a column (it was inactive there) says of it what is
known beforehand, nothing.

The bad points are many and matter little one by one: of more than `_MOST_BAD` a spread of them stands for all, so what a
suggestion costs does not grow with the history.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from search.surrogates.columns import Columns, Matrix

_MOST_GOOD = 25
_MOST_BAD = 400
# Rows drawn for the first point of a call, and further ones before the points named, so that a call for more points
# begins like one for fewer.
_CANDIDATES = {0: 48, 1: 16, 8: 64, 64: 256, 256: 1024}
_LEAST_WIDTH = 0.01


@dataclass(frozen=True, slots=True)
class Density:
    """Kernels at rows (k, columns), each weighing the same as one that knows nothing; `widths` by column."""

    columns: Columns
    rows: Matrix
    widths: Matrix
    smoothing: float

    def log(self, rows: Matrix) -> Matrix:
        """Return the log density (m,) relative to the uniform one, over what is active in each row."""
        total = self.kernels(rows, self.rows)
        top = np.maximum(total.max(axis=1, initial=0.0), 0.0)
        mass = np.exp(total - top[:, None]).sum(axis=1) + np.exp(-top)
        return np.asarray(top + np.log(mass) - math.log(len(self.rows) + 1))

    def kernels(self, rows: Matrix, centres: Matrix) -> Matrix:
        """Return the log density (m, k) of kernels at `centres`, each by itself."""
        total = np.zeros((len(rows), len(centres)))
        for index, each in enumerate(self.columns.all):
            here, there = rows[:, index][:, None], centres[:, index][None, :]
            part = self._equal(here, there, each.cells) if each.choice else self._near(here, there, index)
            total += np.where(np.isnan(here) | np.isnan(there), 0.0, part)
        return total

    def draw(self, rng: np.random.Generator, count: int) -> Matrix:
        """Draw rows: a kernel each, moved by its widths; what the kernel lacks is uniform."""
        anew = self.columns.spread(rng.random((count, len(self.columns))))
        picked = rng.integers(len(self.rows) + 1, size=count)
        centres = np.vstack([self.rows, np.full((1, len(self.columns)), np.nan)])[picked]
        shares = rng.random((count, len(self.columns)))
        low, high = ndtr((0.0 - centres) / self.widths), ndtr((1.0 - centres) / self.widths)
        moved = centres + self.widths * ndtri(np.clip(low + shares * (high - low), 1e-12, 1 - 1e-12))
        kept = np.where(shares < self.smoothing, anew, centres)
        return self.columns.settle(np.where(np.isnan(centres), anew, np.where(self.columns.choices, kept, moved)))

    def kernel(self, rows: Matrix, centre: Matrix) -> Matrix:
        """Return the log density (m,) of one kernel: `kernels` with a single centre, all columns in one go."""
        numbers, choices = ~self.columns.choices, self.columns.choices
        inside = ndtr((1.0 - centre) / self.widths) - ndtr((0.0 - centre) / self.widths)
        scale = np.log(inside * self.widths * math.sqrt(2 * math.pi))
        parts = (-0.5 * ((rows - centre) / self.widths) ** 2 - scale)[:, numbers]
        same = np.log(self.columns.cells[choices] * (1 - self.smoothing) + self.smoothing)
        equal = np.where(rows[:, choices] == centre[choices], same, math.log(self.smoothing))
        known = ~np.isnan(rows[:, choices]) & ~np.isnan(centre[choices])
        return np.asarray(np.where(np.isnan(parts), 0.0, parts).sum(axis=1) + np.where(known, equal, 0.0).sum(axis=1))

    def _near(self, here: Matrix, there: Matrix, index: int) -> Matrix:
        width = self.widths[index]
        inside = ndtr((1.0 - there) / width) - ndtr((0.0 - there) / width)
        return np.asarray(-0.5 * ((here - there) / width) ** 2 - np.log(inside * width * math.sqrt(2 * math.pi)))

    def _equal(self, here: Matrix, there: Matrix, cells: int) -> Matrix:
        same = math.log(cells * (1 - self.smoothing) + self.smoothing)
        return np.where(here == there, same, math.log(self.smoothing))


def density(columns: Columns, rows: Matrix) -> Density:
    """Put kernels on rows, wide where they are few."""
    count, width = max(len(rows), 1), 0.2 * max(len(rows), 1) ** (-1.0 / (len(columns) + 4))
    lattice = np.where(columns.cells > 0, 0.5 / np.maximum(columns.cells, 1), 0.0)
    widths = np.maximum(max(width, _LEAST_WIDTH, 1.0 / min(100, count + 1) * 0.1), lattice)
    return Density(columns, rows, widths, smoothing=min(0.5, 1.0 / (1.0 + count / 4)))


def good(count: int) -> int:
    """Return how many of `count` results are good."""
    return min(math.ceil(0.1 * count), _MOST_GOOD)


def propose(
    columns: Columns,
    best: Matrix,
    rest: Matrix,
    pending: Matrix,
    rng: np.random.Generator,
    count: int,
    accept: Callable[[Matrix], bool],
) -> list[Matrix]:
    """Return up to `count` rows, the most promising first; each keeps those after it away, as `pending` ones do.

    `best` and `rest` are the rows of good results and of the others. There are fewer where no row is left that is
    accepted.
    """
    inside = density(columns, best)
    outside = density(columns, np.vstack([thinned(rest, _MOST_BAD), pending]))
    rows, promise, crowd = np.empty((0, len(columns))), np.empty(0), np.empty(0)
    chosen: list[Matrix] = []
    for index in range(count):
        if index in _CANDIDATES:
            more = inside.draw(rng, _CANDIDATES[index])
            mass = np.logaddexp(
                outside.log(more) + math.log(len(outside.rows) + 1),
                _mass(outside.kernels(more, np.array(chosen).reshape(-1, len(columns)))),
            )
            rows, promise = np.vstack([rows, more]), np.append(promise, inside.log(more))
            crowd = np.append(crowd, mass)
        order = np.argsort(crowd - promise, kind="stable")
        place = next((place for place in order if np.isfinite(crowd[place]) and accept(rows[place])), None)
        if place is None:
            break
        chosen.append(rows[place])
        crowd = np.logaddexp(crowd, outside.kernel(rows, rows[place]))
        crowd[place] = np.inf
    return chosen


def _mass(logs: Matrix) -> Matrix:
    """Return the log of the sums of rows, minus infinity of an empty one."""
    if not logs.shape[1]:
        return np.full(len(logs), -np.inf)
    top = logs.max(axis=1)
    return np.asarray(top + np.log(np.exp(logs - top[:, None]).sum(axis=1)))


def thinned(rows: Matrix, most: int) -> Matrix:
    """Return at most so many rows, evenly spread over the order given."""
    if len(rows) <= most:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, most).astype(int)])
