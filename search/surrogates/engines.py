"""The models of bayesian search, by name: each takes what is known and returns rows to try next."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from search.surrogates import parzen, proposals
from search.surrogates.columns import Columns, Matrix
from search.surrogates.kernel import Geometry, Hyper
from search.surrogates.leans import leans
from search.surrogates.process import condition, extend, fit
from search.surrogates.proposals import Accept, Bonus, Proposal
from search.surrogates.results import Results
from search.surrogates.targets import target


class Engine(Protocol):
    """A model: returns up to `count` rows, each knowing of the ones before it; all randomness comes from `rng`."""

    def propose(
        self, results: Results, pending: Matrix, rng: np.random.Generator, count: int, accept: Accept
    ) -> Sequence[Proposal]: ...


_ADVICE = 10.0  # what is known beforehand weighs as much as the model beside so many results, and less beside more
_REFIT = 1.15  # the hyperparameters of a process are learned anew when there are so many times as many results


class Gaussian:
    """A Gaussian process with expected improvement; its hyperparameters are those of the first so many results."""

    def __init__(self, columns: Columns, bonus: Bonus) -> None:
        self._columns = columns
        self._bonus = bonus
        self._geometry = Geometry(np.where(columns.choices, columns.cells, 0).astype(np.intp), leans(columns))
        self._fitted: tuple[int, Hyper] | None = None

    def propose(
        self, results: Results, pending: Matrix, rng: np.random.Generator, count: int, accept: Accept
    ) -> list[Proposal]:
        """Return rows of most expected improvement. Raise ValueError if nothing has completed."""
        hyper = self._learned(results)
        scores, extra = results.standing()
        scale = target(scores)
        process = condition(self._geometry, hyper, results.rows, scale(scores), extra)
        process = extend(process, pending) if len(pending) else process
        seen = len(results) + len(pending)
        turns = range(seen, seen + count)
        found = proposals.propose(self._columns, process, rng, turns, self._faded(len(results)), accept)
        return [replace(each, improvement=(each.improvement or 0.0) * scale.unit) for each in found]

    def _faded(self, count: int) -> Bonus:
        """Return the bonus with the weight that it has beside so many results."""
        weight = _ADVICE / max(count, 1)
        return lambda rows: weight * self._bonus(rows)

    def _learned(self, results: Results) -> Hyper:
        size = rung(len(results) if results.settled is None else results.settled)
        if self._fitted is not None and self._fitted[0] == size:
            return self._fitted[1]
        early = results.first(size)
        if not early.known:
            return self._fit(results)
        self._fitted = size, self._fit(early)
        return self._fitted[1]

    def _fit(self, results: Results) -> Hyper:
        scores, extra = results.standing()
        return fit(self._geometry, results.rows, target(scores)(scores), extra)


class Parzen:
    """A tree-structured Parzen estimator; what a suggestion costs does not grow with the history."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def propose(
        self, results: Results, pending: Matrix, rng: np.random.Generator, count: int, accept: Accept
    ) -> list[Proposal]:
        """Return rows where good results are denser than others."""
        best = results.best(parzen.good(len(results)))
        rest = np.delete(results.rows, best, axis=0) if len(results) < 1000 else results.rows
        rows = parzen.propose(self._columns, results.rows[best], rest, pending, rng, count, accept)
        return [Proposal(row) for row in rows]


def rung(count: int) -> int:
    """Return the largest size up to `count` at which hyperparameters are learned."""
    size = min(count, 4)
    while (following := max(size + 1, int(size * _REFIT))) <= count:
        size = following
    return size
