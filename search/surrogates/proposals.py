"""Where a Gaussian process expects most improvement: a pool of rows judged at once, the best of them climbed from.

Expected improvement trusts the model, and a model that is wrong about a region never goes there to find out. So of every
few points one is chosen by the most that it may be worth, however unlikely.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.optimize import minimize

from search.surrogates.columns import Columns, Matrix
from search.surrogates.improvement import log_improvement, slope
from search.surrogates.kernel import covariance
from search.surrogates.process import Process, extend

_POOL = 600
_AROUND = 40  # rows near each of the best ones, so many of them:
_BEST = 5
_CLIMBS = 3
_STEPS = 25
_ENOUGH = 1e-4  # a step that gains less than this share ends the climb
_WIDTHS = (0.2, 0.05, 0.01)
_EXPLORES = 8  # of so many points one
_HOPE = 3.0  # standard deviations below the mean

Bonus: TypeAlias = Callable[[Matrix], Matrix]  # rows -> what is added to the log improvement there
Accept: TypeAlias = Callable[[Matrix], bool]  # says of a row whether it may be tried


@dataclass(frozen=True, slots=True)
class Proposal:
    """A row to try; `improvement` is how much better a score is expected there, None where the model does not say."""

    row: Matrix
    improvement: float | None = None


@dataclass(slots=True)
class _Pool:
    """Rows with what the process believes of them; `see` takes in a point as if it had turned out as expected."""

    rows: Matrix
    places: Matrix
    mean: Matrix
    variance: Matrix
    solved: Matrix

    @property
    def deviation(self) -> Matrix:
        return np.sqrt(np.maximum(self.variance, 1e-12))

    def see(self, process: Process) -> None:
        """Narrow the beliefs by the newest row of the process."""
        newest = process.factor[-1]
        across = covariance(process.hyper.signal, process.places[-1:], self.places)[0]
        explained = (across - newest[:-1] @ self.solved) / newest[-1]
        self.solved, self.variance = np.vstack([self.solved, explained]), self.variance - explained**2


def propose(
    columns: Columns, process: Process, rng: np.random.Generator, turns: range, bonus: Bonus, accept: Accept
) -> list[Proposal]:
    """Return rows, one for each turn, each chosen as if the ones before it had turned out as expected.

    The pool is drawn once for all; only the first few of many are climbed from, since the rest are spread by the
    process itself. There are fewer where no row is left that is accepted. Improvements are in units of the scores that
    the process knows.
    """
    pool = _pool(columns, process, rng)
    extra = bonus(pool.rows)
    best = float((process.across(process.places) @ process.weights).min())
    chosen: list[Proposal] = []
    for turn in turns:
        gain = log_improvement(pool.mean, pool.deviation, best)
        proposal = None
        if turn % _EXPLORES == _EXPLORES - 1:
            proposal = _highest(pool.rows, _HOPE * pool.deviation - pool.mean + extra, accept, gain)
        elif len(chosen) < _CLIMBS:
            starts = pool.rows[np.argsort(-gain - extra, kind="stable")[:_CLIMBS]]
            proposal = _climbed(columns, process, starts, best, bonus, accept)
        proposal = proposal or _highest(pool.rows, gain + extra, accept, gain)
        if proposal is None:
            break
        chosen.append(proposal)
        process = extend(process, proposal.row[None, :])
        pool.see(process)
    return chosen


def _pool(columns: Columns, process: Process, rng: np.random.Generator) -> _Pool:
    seen = np.argsort(process.scores, kind="stable")[:_BEST]
    nearby = [around(columns, process.rows[place], rng) for place in seen]
    rows = columns.settle(np.vstack([columns.draw(rng, _POOL), *nearby]))
    places = process.place(rows)
    across = process.across(places)
    solved = process.solve(across)
    variance = process.hyper.signal - np.einsum("nm,nm->m", solved, solved)
    return _Pool(rows, places, across @ process.weights, variance, solved)


def around(columns: Columns, row: Matrix, rng: np.random.Generator) -> Matrix:
    """Return rows near one: a few columns moved by steps of several widths, or drawn anew where they are choices."""
    count, width = _AROUND, len(row)
    moved = rng.random((count, width)) < min(1.0, 2.0 / width)
    moved[np.arange(count), rng.integers(width, size=count)] = True
    widths = np.asarray(_WIDTHS)[rng.integers(len(_WIDTHS), size=(count, 1))]
    anew = columns.spread(rng.random((count, width)))
    # A lattice has to be left by a whole cell, or the step is none.
    least = np.where(columns.cells > 0, 1.0 / np.maximum(columns.cells, 1), 0.0)
    steps = rng.standard_normal((count, width)) * np.maximum(widths, least)
    start = np.where(np.isnan(row), anew, row)
    there = np.where(columns.choices, anew, start + steps)
    return np.where(moved | np.isnan(row), there, start)


def _highest(rows: Matrix, worth: Matrix, accept: Accept, gain: Matrix) -> Proposal | None:
    """Return the row of highest worth that is accepted."""
    for place in np.argsort(-worth, kind="stable"):
        if accept(rows[place]):
            return Proposal(rows[place], float(np.exp(gain[place])))
    return None


def _climbed(
    columns: Columns, process: Process, starts: Matrix, best: float, bonus: Bonus, accept: Accept
) -> Proposal | None:
    """Climb from promising rows, by slope in what is continuous and by trial in what is not."""
    climbed = columns.settle(_climb(columns, process, starts, best))
    rows = np.vstack([climbed, starts, neighbours(columns, climbed[0])])
    gain = log_improvement(*process.predict(rows), best)
    return _highest(rows, gain + bonus(rows), accept, gain)


def _climb(columns: Columns, process: Process, starts: Matrix, best: float) -> Matrix:
    """Climb from all rows at once: to add up what each gains is one problem, whose parts know nothing of each other."""
    free = columns.smooth & ~np.isnan(starts)
    if not free.any():
        return starts
    rows = starts.copy()

    def loss(values: Matrix) -> tuple[float, Matrix]:
        rows[free] = values
        mean, deviation, by_mean, by_deviation = process.slopes(rows)
        gain, slopes = slope(mean, deviation, best, by_mean, by_deviation)
        return -float(gain.sum()), -slopes[free]

    bounds = [(0.0, 1.0)] * int(free.sum())
    options = {"maxiter": _STEPS, "ftol": _ENOUGH}
    rows[free] = minimize(loss, starts[free], jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return rows


def neighbours(columns: Columns, row: Matrix) -> Matrix:
    """Return the rows that differ from one in a single choice or by one cell of a lattice; conditions are settled."""
    rows = []
    for index, each in enumerate(columns.all):
        if each.smooth or np.isnan(row[index]):
            continue
        values = range(each.cells) if each.choice else (row[index] - 1 / each.cells, row[index] + 1 / each.cells)
        for value in values:
            other = np.where(np.isnan(row), 0.5, row)
            other[index] = value
            rows.append(other)
    return columns.settle(np.array(rows)) if rows else np.empty((0, len(row)))
