"""What trials tell a model of their scores, as rows and numbers that grow with them.

    completed          its score; one that breaks a constraint, or may, that its point is as bad as the worst
    pruned             the score that completed trials with its curve came to, or no better than the middling one
    diverged           that its point is as bad as the worst
    waits at a rung    as one that was pruned there
    running, queued    that its point is taken, if it has one
    failed, cancelled  nothing
Results stand in the order in which they came (`seq`), so what a model sees depends on which trials it knows, not on when
it heard of them.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np

from search.records import TrialRecord
from search.surrogates.columns import Columns, Matrix
from search.surrogates.results import COMPLETED, DIVERGED, PRUNED, Results

_LARGEST = 1e100
_KINDS = {"completed": COMPLETED, "pruned": PRUNED, "diverged": DIVERGED}


class Evidence:
    """All that was told of a study's trials."""

    def __init__(self, columns: Columns, *, constrained: bool = False) -> None:
        self.cutoff = 0
        self.pending: dict[int, Matrix] = {}
        self._constrained = constrained
        self._waiting: dict[int, tuple[Matrix, TrialRecord]] = {}
        self._columns = columns
        self._places: dict[int, int] = {}  # trial number -> its place below
        self._seqs: list[int] = []
        self._rows = np.empty((64, len(columns)))
        self._scores = np.empty(64)
        self._kinds = np.empty(64)
        self._curves: list[Mapping[int, float]] = []

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Take in changed trials, best in order of `seq`; work is then in proportion to them, not to the history."""
        for trial in trials:
            self.cutoff = max(self.cutoff, trial.seq)
            self.pending.pop(trial.number, None)
            self._waiting.pop(trial.number, None)
            row = None if trial.params is None else self._columns.encode(trial.params)
            if row is None:
                continue
            if trial.state == "queued" and trial.waiting_step is not None and trial.score is not None:
                self._waiting[trial.number] = row, trial
            elif trial.state in {"running", "queued"}:
                self.pending[trial.number] = row
            elif self._worst(trial) or (trial.state in _KINDS and trial.score is not None):
                self._put(trial, row)

    def results(self) -> Results:
        """Return what is known by now: what has ended, then what waits at a rung, by number."""
        count = len(self._seqs)
        ended = Results(self._rows[:count], self._scores[:count], self._kinds[:count], self._curves, settled=count)
        if not self._waiting:
            return ended
        waiting = [self._waiting[number] for number in sorted(self._waiting)]
        return Results(
            np.vstack([ended.rows, [row for row, _ in waiting]]),
            np.append(ended.scores, [_bounded(trial.score or 0.0) for _, trial in waiting]),
            np.append(ended.kinds, [PRUNED] * len(waiting)),
            [*ended.curves, *(trial.curve for _, trial in waiting)],
            settled=count,
        )

    def waiting_at(self) -> dict[str, int]:
        """Return the trials that wait for promotion, and at which step, as they are stored with a suggestion."""
        return {str(number): trial.waiting_step or 0 for number, (_, trial) in sorted(self._waiting.items())}

    def _put(self, trial: TrialRecord, row: Matrix) -> None:
        if trial.number not in self._places:
            self._places[trial.number] = self._room(trial.seq)
        place = self._places[trial.number]
        worst = self._worst(trial)
        self._curves[place] = trial.curve
        self._rows[place], self._kinds[place] = row, DIVERGED if worst else _KINDS[trial.state]
        self._scores[place] = np.nan if worst or trial.score is None else _bounded(trial.score)

    def _room(self, seq: int) -> int:
        """Make room for a result where its `seq` belongs, mostly at the end, and return its place."""
        count, place = len(self._seqs), bisect_right(self._seqs, seq)
        if count == len(self._scores):
            for name in ("_rows", "_scores", "_kinds"):
                held = getattr(self, name)
                setattr(self, name, np.concatenate([held, np.empty_like(held)]))
        self._seqs.insert(place, seq)
        self._curves.insert(place, {})
        if place < count:
            for held in (self._rows, self._scores, self._kinds):
                held[place + 1 : count + 1] = held[place:count].copy()
            self._places = {number: at + (at >= place) for number, at in self._places.items()}
        return place

    def _worst(self, trial: TrialRecord) -> bool:
        """Say whether a trial's point is as bad as the worst: it diverged, or breaks a constraint of the metrics, or may."""
        broken = self._constrained and trial.state == "completed" and trial.violation != 0
        return trial.state == "diverged" or broken


def _bounded(score: float) -> float:
    """Keep a score so small that its square is a number."""
    return min(max(score, -_LARGEST), _LARGEST)
