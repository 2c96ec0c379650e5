"""The autotuner of `sparse_sgd`: which way the next step is taken, and with which slack, by what steps have cost.

Ways are `dense` (two matrix products), `scan` (one, then active rows alone) and `lists` (active rows alone, found in margin
lists). The first steps of a training are taken without lists, and timed. From that it is foretold what lists would cost,
then and again after twice as many steps each time, since rows move less as a training goes on; if lists pay for themselves in
what is left of the training, they are built. Their slack is moved where another is foretold to be cheaper, and they are
left where they do not keep up.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from .costs import Spent, Survey, at_slack, foretold, worth_building

DENSE, SCAN, LISTS = "dense", "scan", "lists"

# Each way without lists is tried so often, as far as it has not taken so long yet, but twice at least: first steps are slow,
# and of the middle one is taken what counts. Two products are tried only where moving active rows is not cheap beside
# finding them.
_TRIES, _FEWEST_TRIES = 12, 2
_ENOUGH_SECONDS = 5e-3
_CHEAP = 0.5
# What lists cost, or whether they would pay, is looked at after so many steps, and then after twice as many each time.
_WINDOW = 32
# The slack stays between these.
_LEAST_SLACK, _MOST_SLACK = 0.03, 2.0
# Another slack must be foretold to save this share of a step.
_WORTH_MOVING = 0.1

# What lists of a slack would be.
Look: TypeAlias = Callable[[float], Survey]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a trainer may do: the ways it has, for how many `steps` in all it will be asked, and bytes for its lists.

    A single way may also be a tree of the table of back ends.
    """

    ways: tuple[str, ...] = (SCAN, DENSE, LISTS)
    steps: int = 10_000
    bytes: float = math.inf


class Tuner:
    """Chooses, step by step: it is told what each has cost, and says how to take the next one."""

    def __init__(self, limits: Limits, *, slack: float) -> None:
        self.slack = slack
        self._limits = limits
        self._left = limits.steps
        self._untried = [way for way in (SCAN, DENSE) if way in limits.ways]
        self._seen: dict[str, list[Spent]] = {way: [] for way in self._untried}
        self._chosen = limits.ways[0]
        self._window = Spent()
        self._doubted: float | None = None
        self._interval = _WINDOW
        self._until_look = 0

    @property
    def way(self) -> str:
        """The way of the next step."""
        return self._untried[0] if self._untried else self._chosen

    @property
    def listed(self) -> float | None:
        """The slack of the lists that are to be there, also while another way is tried; None for no lists."""
        return None if self._chosen in {DENSE, SCAN} else self.slack

    @property
    def structure(self) -> str:
        """The back end that is meant by lists: they themselves, or a tree where that is the only way."""
        return self._chosen

    def forbid(self, way: str) -> None:
        """Take this way no more: memory does not hold what it needs."""
        self._limits = replace(self._limits, ways=tuple(each for each in self._limits.ways if each != way))
        self._untried = [each for each in self._untried if each != way]
        self._seen.pop(way, None)
        if self._chosen == way:
            self._chosen = self._best_without()[0] if any(self._seen.values()) else SCAN

    def take(self, spent: Spent, look: Look) -> None:
        """Take what the step has cost that was asked for last."""
        self._left -= 1
        if self._untried:
            self._take_trial(spent, look)
        elif self._chosen == LISTS:
            self._window += spent
            if self._window.steps >= self._interval and self._seen and self._left >= _WINDOW:
                self._judge(look)
        elif self._chosen in {SCAN, DENSE}:
            self._until_look -= 1
            if self._until_look == 0:
                self._consider(look)

    def _take_trial(self, spent: Spent, look: Look) -> None:
        seen = self._seen[self.way]
        seen.append(spent)
        enough = sum(each.seconds for each in seen) > _ENOUGH_SECONDS and len(seen) >= _FEWEST_TRIES
        if enough or len(seen) == _TRIES:
            tried = self._untried.pop(0)
            if tried == SCAN and self._doubted is None and _median(seen).moving < _CHEAP * _median(seen).finding:
                self._untried = []
        if self._untried:
            return
        way, without = self._best_without()
        if self._doubted is None:
            self._chosen = way
            self._consider(look)
        elif without < self._doubted:
            self._chosen = way
        self._doubted = None

    def _consider(self, look: Look) -> None:
        """Choose lists if they are foretold to pay."""
        self._until_look, self._interval = self._interval, 2 * self._interval
        if LISTS not in self._limits.ways or not self._seen.get(SCAN):
            return
        survey, (_, without) = look(self.slack), self._best_without()
        lists = foretold(_median(self._seen[SCAN]), survey)
        pays = worth_building(lists, without=without, building=survey.building, steps=self._left)
        if pays and survey.bytes <= self._limits.bytes:
            self._chosen, self._interval = LISTS, _WINDOW

    def _judge(self, look: Look) -> None:
        """Ask whether another slack, or none of it, is cheaper than what the window has cost."""
        lists, self._window, self._interval = self._window.per_step, Spent(), 2 * self._interval
        slack, cost, building = self._best_slack(lists, look)
        way, without = self._best_without()
        if without < cost:
            # Try that once more before: what has become slow since may be the machine.
            self._doubted, self._untried, self._seen[way] = cost, [way], []
        elif cost + building / self._left < (1 - _WORTH_MOVING) * lists.seconds:
            self.slack = slack

    def _best_slack(self, lists: Spent, look: Look) -> tuple[float, float, float]:
        """Return the slack that is foretold to be the cheapest, what a step costs with it, and its building."""
        own = look(self.slack)
        found = [(self.slack, lists.seconds, 0.0)]
        for slack in (self.slack / 2, self.slack * 2):
            survey = look(slack)
            if _LEAST_SLACK <= slack <= _MOST_SLACK and survey.bytes <= self._limits.bytes:
                longer = survey.listed / max(own.listed, 1e-9)
                found.append((slack, at_slack(lists, self.slack / slack, longer).seconds, survey.building))
        return min(found, key=lambda each: each[1])

    def _best_without(self) -> tuple[str, float]:
        costs = {way: _median(seen).seconds for way, seen in self._seen.items() if seen}
        best = min(costs, key=costs.__getitem__)
        return best, costs[best]


def _median(seen: list[Spent]) -> Spent:
    """Return the lower median of what steps cost, of which the first says little where there are others."""
    return sorted(seen, key=lambda spent: spent.seconds)[(len(seen) - 1) // 2]
