"""Pruning without a ledger: the same decisions over learning curves that were recorded, for benchmarks and for tests.

A test holds `Judge` and `search.trials.rungs` together: whatever is reported in whatever order, both say the same.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from search.definition.prunings import Pruning, comparing, promotes
from search.pruners.table import SOLITARY, alone, bracket, compares_at, keep, reason, rung

# Given scores by trial and how many of them go on: who does. The one place that knows what a better score is.
Ranking = Callable[[Mapping[int, float], int], Collection[int]]


def best(scores: Mapping[int, float], kept: int) -> set[int]:
    """Return the trials with the `kept` lowest scores, and all that equal the last of them."""
    if kept == 0:
        return set()
    last = sorted(scores.values())[kept - 1]
    return {number for number, score in scores.items() if score <= last}


@dataclass(slots=True)
class Judge:
    """Decides what is reported, one measurement after the other. `last` is the step of a whole trial."""

    pruning: Pruning
    last: int | None = None
    seed: int = 0
    ranking: Ranking = best
    # By rung the score of each trial that reached it, and by trial its whole curve.
    _rungs: dict[tuple[int, int], dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    _curves: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def report(self, number: int, step: int, score: float) -> str | None:
        """Say why the trial stops, or waits, that measured `score` at `step`; None while it goes on."""
        place = bracket(self.pruning, number, seed=self.seed)
        if not rung(self.pruning, step, last=self.last, bracket=place):
            return None
        said = self._alone(number, score)
        if not compares_at(self.pruning, step, bracket=place):
            return None if comparing(self.pruning) else said
        scores = self._rungs[step, place]
        scores[number] = score
        if self.pruning.kind in SOLITARY and said is None:
            return None
        kept = keep(self.pruning, len(scores))
        if number in self.ranking(scores, kept):
            return None
        why = reason(self.pruning, step=step, kept=kept, size=len(scores), bracket=place)
        return why if said is None else f"{said}; {why}"

    def promoted(self, number: int, step: int) -> bool:
        """Say whether a trial that waits at this rung may go on by now."""
        scores = self._rungs[step, 0]
        return number in self.ranking(scores, keep(self.pruning, len(scores)))

    def foremost(self, waiting: Mapping[int, int]) -> int:
        """Return the best at the highest rung of those that wait (trial -> step, at least one)."""
        highest = max(waiting.values())
        scores = {number: self._rungs[step, 0][number] for number, step in waiting.items() if step == highest}
        return min(self.ranking(scores, 1))

    def _alone(self, number: int, score: float) -> str | None:
        if self.pruning.kind not in SOLITARY:
            return None
        self._curves[number].append(score)
        return alone(self.pruning, self._curves[number])


def simulate(
    pruning: Pruning | None,
    curves: Sequence[Sequence[float]],
    *,
    workers: int = 1,
    seed: int = 0,
    ranking: Ranking = best,
) -> list[int]:
    """Return after how many steps each trial stops; who is not pruned has all of its curve.

    `curves` holds the scores (lower is better) of each trial by step, the first trial to start first; the longest is that
    of a whole trial. So many `workers` train one step in each round, in the order of their trials' start. Where trials
    wait, a free worker takes up the first that was promoted before it starts another, and at the end, when nobody has a
    whole curve, the best that waits at the highest rung goes on.
    """
    if pruning is None:
        return [len(curve) for curve in curves]
    floor = _Floor(curves, Judge(pruning, max(map(len, curves), default=0), seed, ranking), promotes(pruning))
    running: list[int] = []
    while True:
        while len(running) < workers and (number := floor.next(idle=not running)) is not None:
            running.append(number)
        if not running:
            return floor.steps
        running = [number for number in running if floor.train(number)]


@dataclass(slots=True)
class _Floor:
    """Trials on their way along recorded curves."""

    curves: Sequence[Sequence[float]]
    judge: Judge
    promotes: bool
    steps: list[int] = field(init=False)
    _fresh: deque[int] = field(init=False)
    _waiting: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.steps = [0] * len(self.curves)
        self._fresh = deque(number for number, curve in enumerate(self.curves) if len(curve) > 0)

    def train(self, number: int) -> bool:
        """Train one step; say whether it goes on."""
        self.steps[number] += 1
        step, curve = self.steps[number], self.curves[number]
        stops = self.judge.report(number, step, curve[step - 1]) is not None
        if stops and self.promotes and step < len(curve):
            self._waiting.append(number)
        return not stops and step < len(curve)

    def next(self, *, idle: bool) -> int | None:
        """Return who is to be trained next; `idle` says that nobody else is being trained."""
        ready = [number for number in sorted(self._waiting) if self.judge.promoted(number, self.steps[number])]
        if not ready and self._fresh:
            return self._fresh.popleft()
        if not ready and idle and self._waiting and not self._any_whole():
            ready = [self.judge.foremost({number: self.steps[number] for number in self._waiting})]
        if not ready:
            return None
        self._waiting.remove(ready[0])
        return ready[0]

    def _any_whole(self) -> bool:
        return any(step == self.judge.last for step in self.steps)
