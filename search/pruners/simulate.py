"""Pruning without a ledger: the same decisions over learning curves that were recorded, for benchmarks and for tests.

A test holds `Judge` and `search.trials.rungs` together: whatever is reported in whatever order, both say the same.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from search.definition.prunings import Pruning, comparing, promotes
from search.pareto import Losses
from search.pruners.ranking import Standing, standings
from search.pruners.table import SOLITARY, alone, bracket, compares_at, keep, reason, rung

# What was measured at a step, lower is better: one number, or the losses where there are several.
Measured: TypeAlias = float | Losses


@dataclass(slots=True)
class Judge:
    """Decides what is reported, one measurement after the other. `last` is the step of a whole trial."""

    pruning: Pruning
    last: int | None = None
    seed: int = 0
    # By rung the losses of each trial that reached it, and by trial its whole curve.
    _rungs: dict[tuple[int, int], dict[int, Losses]] = field(default_factory=lambda: defaultdict(dict))
    _curves: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def report(self, number: int, step: int, measured: Measured) -> str | None:
        """Say why the trial stops, or waits, that measured this at `step`; None while it goes on."""
        losses = measured if isinstance(measured, tuple) else (measured,)
        place = bracket(self.pruning, number, seed=self.seed)
        if not rung(self.pruning, step, last=self.last, bracket=place):
            return None
        said = self._alone(number, losses)
        if not compares_at(self.pruning, step, bracket=place):
            return None if comparing(self.pruning) else said
        here = self._rungs[step, place]
        here[number] = losses
        if self.pruning.kind in SOLITARY and said is None:
            return None
        kept, standing = keep(self.pruning, len(here)), _standing(here, number)
        if standing.rank <= kept:
            return None
        shown = standing if len(losses) > 1 else None
        why = reason(self.pruning, step=step, kept=kept, size=len(here), standing=shown, bracket=place)
        return why if said is None else f"{said}; {why}"

    def promoted(self, number: int, step: int) -> bool:
        """Say whether a trial that waits at this rung may go on by now."""
        here = self._rungs[step, 0]
        return _standing(here, number).rank <= keep(self.pruning, len(here))

    def foremost(self, waiting: Mapping[int, int]) -> int:
        """Return the best at the highest rung of those that wait (trial -> step, at least one)."""
        highest = max(waiting.values())
        there = {number: self._rungs[step, 0][number] for number, step in waiting.items() if step == highest}
        return min(there, key=lambda number: (there[number], number))

    def _alone(self, number: int, losses: Losses) -> str | None:
        if self.pruning.kind not in SOLITARY:
            return None
        self._curves[number].append(losses[0])
        return alone(self.pruning, self._curves[number])


def _standing(rung: Mapping[int, Losses], number: int) -> Standing:
    return standings(rung, [number])[number]


def simulate(
    pruning: Pruning | None, curves: Sequence[Sequence[Measured]], *, workers: int = 1, seed: int = 0
) -> list[int]:
    """Return after how many steps each trial stops; who is not pruned has all of its curve.

    `curves` holds what each trial measures by step (its score, or its losses; lower is better), the first trial to start first; the longest is that
    of a whole trial. So many `workers` train one step in each round, in the order of their trials' start. Where trials
    wait, a free worker takes up the first that was promoted before it starts another, and at the end, when nobody has a
    whole curve, the best that waits at the highest rung goes on.
    """
    if pruning is None:
        return [len(curve) for curve in curves]
    floor = _Floor(curves, Judge(pruning, max(map(len, curves), default=0), seed), promotes(pruning))
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

    curves: Sequence[Sequence[Measured]]
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
