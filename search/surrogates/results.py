"""What is known of points: rows, scores, and what became of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.surrogates.columns import Matrix

COMPLETED, PRUNED, DIVERGED = 0, 1, 2
_UNSURE = 0.1  # variance of a pruned trial's standing, in units of that of all scores


@dataclass(frozen=True, slots=True)
class Results:
    """What is known of n points: `rows` (n, columns), their scores (n,), NaN of those that diverged, and their kinds."""

    rows: Matrix
    scores: Matrix
    kinds: Matrix

    def __len__(self) -> int:
        return len(self.scores)

    def first(self, count: int) -> "Results":
        """Return the results that came first."""
        return Results(self.rows[:count], self.scores[:count], self.kinds[:count])

    @property
    def known(self) -> bool:
        """Whether any has completed."""
        return bool((self.kinds == COMPLETED).any())

    def best(self, count: int) -> NDArray[np.intp]:
        """Return the places of the best: completed before pruned before diverged, each by score, then by age."""
        done = np.flatnonzero(self.kinds == COMPLETED)
        if len(done) < count:
            return np.asarray(np.lexsort((self.scores, self.kinds)))[:count]
        few = np.argpartition(self.scores[done], count - 1)[:count] if count < len(done) else np.arange(len(done))
        bar = self.scores[done[few]].max()
        near = done[self.scores[done] <= bar]
        return np.asarray(near[np.argsort(self.scores[near], kind="stable")][:count])

    def standing(self) -> tuple[Matrix, Matrix]:
        """Return a score for every point and how much less sure than others it is (variance, in units of all scores').

        A pruned point stands behind the middling completed one, a diverged one behind all.
        """
        done = self.scores[self.kinds == COMPLETED]
        step = 0.25 * (float(done.max() - done.min()) or 1.0)
        pruned = np.maximum(self.scores, float(np.median(done)) + step)
        known = np.select([self.kinds == COMPLETED, self.kinds == PRUNED], [self.scores, pruned], -np.inf)
        scores = np.where(self.kinds == DIVERGED, known.max() + 2 * step, known)
        return scores, np.where(self.kinds == PRUNED, _UNSURE, 0.0)
