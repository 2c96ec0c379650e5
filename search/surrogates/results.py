"""What is known of points: rows, scores, and what became of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.surrogates.columns import Matrix
from search.surrogates.curves import FEWEST, foresee

COMPLETED, PRUNED, DIVERGED = 0, 1, 2
_UNSURE = 0.1  # variance of a pruned trial's standing, in units of that of all scores


@dataclass(frozen=True, slots=True)
class Results:
    """What is known of n points: `rows` (n, columns), their scores (n,), NaN of those that diverged, and their kinds."""

    rows: Matrix
    scores: Matrix
    kinds: Matrix
    curves: Sequence[Mapping[int, float]] = ()  # scores by step, where they are known
    settled: int | None = None  # how many of them, from the first, will never change; None = all

    def __len__(self) -> int:
        return len(self.scores)

    def first(self, count: int) -> "Results":
        """Return the results that came first."""
        return Results(self.rows[:count], self.scores[:count], self.kinds[:count], self.curves[:count])

    @property
    def known(self) -> bool:
        """Whether any has a score."""
        return bool((self.kinds != DIVERGED).any())

    def foresees(self, step: int) -> bool:
        """Say whether enough completed ones have a score at this step to tell what others there come to."""
        return len(self._whole(step)) >= FEWEST

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

        A pruned point has the score that completed ones with a curve like its own came to; where that is not known it
        stands behind the middling completed one. A diverged point stands behind all.
        """
        # While none has completed all are compared by how far they came.
        shown = COMPLETED if (self.kinds == COMPLETED).any() else PRUNED
        done = self.scores[self.kinds == shown]
        step = 0.25 * (float(done.max() - done.min()) or 1.0)
        middling = float(np.median(done)) + step
        scores, unsure = self.scores.copy(), np.zeros(len(self))
        known: dict[int, list[tuple[float, float]]] = {}
        for place in np.flatnonzero(self.kinds == PRUNED):
            own = float(self.scores[place])
            mean, variance = self._foreseen(int(place), known) or (own if shown == PRUNED else max(own, middling), 0.0)
            scores[place], unsure[place] = mean, _UNSURE + variance / (4 * step) ** 2
        diverged = self.kinds == DIVERGED
        scores[diverged] = scores[~diverged].max() + 2 * step
        return scores, unsure

    def _foreseen(self, place: int, known: dict[int, list[tuple[float, float]]]) -> tuple[float, float] | None:
        """Ask for the end of a curve; `known` keeps by step what completed trials had there and at their end."""
        curve = self.curves[place] if self.curves else {}
        if not curve:
            return None
        last = max(curve)
        if last not in known:
            known[last] = self._whole(last)
        return foresee(curve[last], known[last])

    def _whole(self, step: int) -> list[tuple[float, float]]:
        """Return (score at this step, final score) of the completed ones with a score there."""
        return [
            (self.curves[place][step], float(self.scores[place]))
            for place in (np.flatnonzero(self.kinds == COMPLETED).tolist() if self.curves else ())
            if step in self.curves[place]
        ]
