"""Population based training (Jaderberg et al., 2017), without waiting for anyone.

Each trial trains a member of the population for an interval. The first `population` draw indices begin members at random
points. Each later one follows a trial that has ended, the first to end first, and goes on with it or with a better one:

    it is not among the worst of its generation     its child goes on from its checkpoint, with the same parameters
    it is, or it did not complete                   the child goes on from one of the best, and explores around its point
    it was the last of its lineage                  likewise, from the best that can still go on
    there is none to go on from                     a member begins anew

A generation are the trials that end with the same step; the worst and the best are the share `quantile` of those that have
completed by then, rounded down. So the first to end go on, having nobody to be compared with.

`why` has the trial that was followed (`after`), the `move`, the `generation`, and between which steps the trial trains
(`begins`, `ends`); besides `draw`, `batch`, `cutoff`, `pending` and `reserved` (trials that others were finding points for
then, each of which follows one that ended earlier), from which the point and its parent can be derived again.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from search.definition.lineages import kept
from search.definition.planning import plan_of
from search.definition.schema import StudyDefinition
from search.definition.searches import PbtSearch
from search.records import Suggestion, TrialRecord
from search.space.plan import draw
from search.space.sampling import MODEL_SALT, Draws
from search.strategies.exploring import explore

_PENDING = frozenset({"queued", "running"})


class Pbt:
    """Members of a population, an interval at a time."""

    reads_history = True
    reads_curves = False

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        search = definition.search
        if not isinstance(search, PbtSearch):
            raise TypeError("not a pbt study")
        self._search = search
        self._seed = seed
        self._plan = plan_of(definition)
        self._keep = kept(definition)
        generations = search.generations(definition.objective.last_step)
        # The last generation that can go on.
        self._last = math.inf if generations is None else generations - 2
        self._cutoff = 0
        self._pending: set[int] = set()
        self._reserved: dict[int, int] = {}
        self._followed: set[int] = set()
        self._ended: dict[int, TrialRecord] = {}
        self._completed: defaultdict[int, dict[int, TrialRecord]] = defaultdict(dict)

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Take in changed trials; work is in proportion to them, not to the history."""
        for trial in trials:
            self._cutoff = max(self._cutoff, trial.seq)
            self._take(trial)
            if "after" in trial.why:
                self._followed.add(trial.why["after"])
                self._ended.pop(trial.why["after"], None)

    def suggest(self, indices: range) -> list[Suggestion]:
        """Return one point for each draw index, each following another trial."""
        first = self._search.population
        reserved = sorted(number for number, draw in self._reserved.items() if first <= draw < indices.start)
        waiting = sorted(self._ended.values(), key=lambda trial: trial.seq)[len(reserved) :]
        seen = {"cutoff": self._cutoff, "pending": sorted(self._pending), "reserved": reserved}
        suggestions = []
        for index in indices:
            after = waiting.pop(0) if index >= first and waiting else None
            suggestions.append(self._suggest(index, after, {"draw": index, "batch": indices.start, **seen}))
        return suggestions

    def _take(self, trial: TrialRecord) -> None:
        number = trial.number
        under_way = trial.state in _PENDING
        for known in (self._ended, self._completed[_generation(trial)], self._reserved):
            known.pop(number, None)
        self._pending.discard(number)
        if under_way and trial.params is not None:
            self._pending.add(number)
        elif under_way:
            self._reserved[number] = trial.draw or 0
        elif not under_way:
            if number not in self._followed:
                self._ended[number] = trial
            if trial.state == "completed" and trial.score is not None and trial.params is not None:
                self._completed[_generation(trial)][number] = trial

    def _suggest(self, index: int, after: TrialRecord | None, seen: dict[str, Any]) -> Suggestion:
        parent = self._parent(index, after) if index >= self._search.population else None
        how = {} if after is None else {"after": after.number}
        if parent is None or parent.params is None:
            why = {**seen, **how, "move": "begin", **self._leg(0)}
            return Suggestion(params=draw(self._plan, Draws(self._seed, index)), origin="startup", why=why)
        goes_on = parent is after
        why = {**seen, **how, "move": "continue" if goes_on else "exploit", **self._leg(_generation(parent) + 1)}
        params = parent.params if goes_on else self._explored(parent.params, index)
        return Suggestion(params=dict(params), origin="model", why=why, parent=parent.number)

    def _leg(self, generation: int) -> dict[str, int]:
        interval = self._search.interval
        return {"generation": generation, "begins": generation * interval, "ends": (generation + 1) * interval}

    def _parent(self, index: int, after: TrialRecord | None) -> TrialRecord | None:
        """Return the trial to go on from: the one that was followed, or one of the best no further than it; None if none."""
        highest = self._last if after is None else min(self._last, _generation(after))
        if after is not None and _generation(after) <= self._last and self._goes_on(after):
            return after
        generation = max((g for g, trials in self._completed.items() if trials and g <= highest), default=None)
        if generation is None:
            return None
        ranked = self._ranked(generation)
        draws = Draws(self._seed, index, salt=MODEL_SALT)
        return ranked[draws.below(max(1, self._cut(len(ranked))))]

    def _goes_on(self, trial: TrialRecord) -> bool:
        """Say whether a trial completed and is not among the worst of its generation."""
        ranked = [each.number for each in self._ranked(_generation(trial))]
        return trial.number in ranked and ranked.index(trial.number) < len(ranked) - self._cut(len(ranked))

    def _ranked(self, generation: int) -> list[TrialRecord]:
        """Return who completed a generation, the best first; the infeasible ones behind, by how far they are from it."""
        return sorted(self._completed[generation].values(), key=_rank)

    def _cut(self, size: int) -> int:
        return int(size * self._search.quantile)

    def _explored(self, params: Any, index: int) -> dict[str, Any]:  # noqa: ANN401  a point
        draws = Draws(self._seed, index, salt=MODEL_SALT + 1)
        search = self._search
        return explore(self._plan, params, draws, keep=self._keep, factor=search.factor, resample=search.resample)


def _generation(trial: TrialRecord) -> int:
    generation: int = trial.why.get("generation", 0)
    return generation


def _rank(trial: TrialRecord) -> tuple[float, float, int]:
    violation = math.inf if trial.violation is None else trial.violation
    return violation, math.inf if trial.score is None else trial.score, trial.number
