"""What trials tell a model of their scores, as rows and numbers that grow with them.

    completed          its score; one that breaks a constraint, or may, that its point is as bad as the worst
    pruned             the score that completed trials with its curve came to, or no better than the middling one
    diverged           that its point is as bad as the worst
    waits at a rung    as one that was pruned there
    running, queued    the score that completed trials with its curve came to, or that its point is taken, if it has one
    failed, cancelled  nothing
Results stand in the order in which they came (`seq`), so what a model sees depends on which trials it knows, not on when
it heard of them.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from search.records import TrialRecord
from search.surrogates.columns import Columns, Matrix
from search.surrogates.results import COMPLETED, DIVERGED, PRUNED, Results

_LARGEST = 1e100
_KINDS = {"completed": COMPLETED, "pruned": PRUNED, "diverged": DIVERGED}


class _Cut(NamedTuple):
    """The curve of a trial that has not ended: where its point lies, and its score at the last rung."""

    row: Matrix
    step: int
    score: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model is shown: results, and rows (k, columns) that are taken and of which no more is known.

    `record` is stored with each suggestion: what it was made from follows from that and from how the trials ended.
    """

    results: Results
    pending: Matrix
    record: Mapping[str, Any]


class Evidence:
    """All that was told of a study's trials; its length is how many of them tell anything."""

    def __init__(self, columns: Columns, *, constrained: bool = False) -> None:
        self._cutoff = 0
        self._constrained = constrained
        self._waiting: dict[int, _Cut] = {}
        self._under_way: dict[int, Matrix] = {}
        self._curves_under_way: dict[int, _Cut] = {}
        self._columns = columns
        self._places: dict[int, int] = {}  # trial number -> its place below
        self._seqs: list[int] = []
        self._rows = np.empty((64, len(columns)))
        self._scores = np.empty(64)
        self._kinds = np.empty(64)
        self._curves: list[Mapping[int, float]] = []

    def __len__(self) -> int:
        return len(self._seqs) + len(self._waiting) + len(self._under_way)

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Take in changed trials, best in order of `seq`; work is then in proportion to them, not to the history."""
        for trial in trials:
            self._cutoff = max(self._cutoff, trial.seq)
            for held in (self._waiting, self._under_way, self._curves_under_way):
                held.pop(trial.number, None)
            row = None if trial.params is None else self._columns.encode(trial.params)
            if row is None:
                continue
            if trial.state == "queued" and trial.waiting_step is not None and trial.score is not None:
                step = trial.waiting_step
                self._waiting[trial.number] = _Cut(row, step, _bounded(trial.curve.get(step, trial.score)))
            elif trial.state in {"running", "queued"}:
                self._under_way[trial.number] = row
                if trial.curve:
                    last = max(trial.curve)
                    self._curves_under_way[trial.number] = _Cut(row, last, _bounded(trial.curve[last]))
            elif self._worst(trial) or (trial.state in _KINDS and trial.score is not None):
                self._put(trial, row)

    def seen(self, *, foresees: bool) -> Seen:
        """Return what is known by now: what has ended, then what waits at a rung, then what is under way, by number.

        What is under way counts by its curve where a model `foresees` what curves come to and enough completed trials
        had a score at the same step; else its point is pending.
        """
        ended = self._ended()
        steps = {cut.step for cut in self._curves_under_way.values()} if foresees else set()
        known = {step for step in steps if ended.foresees(step)}
        waiting = dict(sorted(self._waiting.items()))
        reached = {number: cut for number, cut in sorted(self._curves_under_way.items()) if cut.step in known}
        pending = {number: row for number, row in sorted(self._under_way.items()) if number not in reached}
        record: dict[str, Any] = {"cutoff": self._cutoff, "pending": list(pending)}
        for name, cuts in (("waiting", waiting), ("reached", reached)):
            if cuts:
                record[name] = {str(number): cut.step for number, cut in cuts.items()}
        rows = np.array(list(pending.values())).reshape(len(pending), len(self._columns))
        return Seen(_with(ended, [*waiting.values(), *reached.values()]), rows, record)

    def _ended(self) -> Results:
        count = len(self._seqs)
        return Results(self._rows[:count], self._scores[:count], self._kinds[:count], self._curves, settled=count)

    def _put(self, trial: TrialRecord, row: Matrix) -> None:
        if trial.number not in self._places:
            self._places[trial.number] = self._room(trial.seq)
        place = self._places[trial.number]
        worst = self._worst(trial)
        self._curves[place] = {step: _bounded(score) for step, score in trial.curve.items()}
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


def _with(ended: Results, cuts: Sequence[_Cut]) -> Results:
    """Add curves that go on to the results, each as one that was pruned where it has come to."""
    if not cuts:
        return ended
    return Results(
        np.vstack([ended.rows, [cut.row for cut in cuts]]),
        np.append(ended.scores, [cut.score for cut in cuts]),
        np.append(ended.kinds, [PRUNED] * len(cuts)),
        [*ended.curves, *({cut.step: cut.score} for cut in cuts)],
        settled=ended.settled,
    )


def _bounded(score: float) -> float:
    """Keep a score so small that its square is a number."""
    return min(max(score, -_LARGEST), _LARGEST)
