"""The autotuner of `sparse_sgd`: which way the next step is taken, and with which slack, by what steps have cost.

Ways are `dense` (two matrix products), `scan` (one, then active rows alone) and `lists` (active rows alone, found in margin
lists). The first steps of a training are taken without lists, and timed. From that it is foretold what lists would cost,
then and again after twice as many steps each time, since rows move less as a training goes on; if lists pay for themselves in
what is left of the training, they are built. Their slack is moved where another is foretold to be cheaper, and they are
left where they do not keep up. Looking ahead costs time itself, and is put off until steps have taken many times as long.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from .costs import Spent, Survey, at_slack, foretold, worth_building

DENSE, SCAN, LISTS = "dense", "scan", "lists"

# Each way without lists is tried so often, as far as it has not taken so long yet, but twice at least: first steps are slow,
# and of the middle one is taken what counts. So many of its last steps are remembered. Two products are tried only where
# moving active rows is not cheap beside finding them.
_TRIES, _FEWEST_TRIES = 6, 2
_ENOUGH_SECONDS = 5e-3
_CHEAP = 0.5
# What lists cost, or whether they would pay, is looked at after so many steps, and then after twice as many each time.
_WINDOW = 32
# All looks, tries for their sake, and the building of lists that were left may have taken this share of the seconds of all
# steps when the next look is due.
_LOOKING = 0.03
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
        self._seen: dict[str, deque[Spent]] = {way: deque(maxlen=_TRIES) for way in self._untried}
        self._chosen = limits.ways[0]
        self._doubted: float | None = None
        self._window = Spent()
        self._interval = _WINDOW
        self._stepped = self._looked = self._building = 0.0

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
        self._stepped += spent.seconds
        if self.way in self._seen:
            self._seen[self.way].append(spent)
        if self._untried:
            self._end_trial(look)
        else:
            self._window += spent
            if self._due:
                self._look_around(look)

    @property
    def _due(self) -> bool:
        """Whether it is time to look, if there is anything to choose."""
        choice = LISTS in self._limits.ways and bool(self._seen)
        waited = self._window.steps >= self._interval and self._looked <= _LOOKING * self._stepped
        return choice and waited and self._left >= _WINDOW

    def _look_around(self, look: Look) -> None:
        lists, self._window, self._interval = self._window.per_step, Spent(), 2 * self._interval
        if self._chosen == LISTS:
            self._judge(lists, look)
        elif self._chosen == DENSE and SCAN in self._seen:
            # It alone shows how far rows come, and what active ones cost.
            self._try(SCAN)
        else:
            self._consider(look)

    def _try(self, way: str) -> None:
        """Try a way again, which will take about as long as it did."""
        self._looked += sum(each.seconds for each in self._seen[way])
        self._untried = [way]
        self._seen[way].clear()

    def _end_trial(self, look: Look) -> None:
        """Choose among the ways without lists once they were tried, and whether there shall be lists."""
        seen = self._seen[self.way]
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
            self._looked += self._building
        self._doubted = None

    def _consider(self, look: Look) -> None:
        """Choose lists if they are foretold to pay."""
        if LISTS not in self._limits.ways or not self._seen.get(SCAN):
            return
        survey, (_, without) = self._ahead(look, self.slack), self._best_without()
        lists = foretold(_median(self._seen[SCAN]), survey)
        pays = worth_building(lists, without=without, building=survey.building, steps=self._left)
        if pays and survey.bytes <= self._limits.bytes:
            self._chosen, self._interval = LISTS, _WINDOW

    def _judge(self, lists: Spent, look: Look) -> None:
        """Ask whether another slack, or none of it, is cheaper than what steps have cost."""
        slack, other, building = self._other_slack(lists, look)
        way, without = self._best_without()
        if without < min(lists.seconds, other):
            # Try that once more before: what has become slow since may be the machine.
            self._doubted = min(lists.seconds, other)
            self._try(way)
        elif other + building / self._left < (1 - _WORTH_MOVING) * lists.seconds:
            self.slack = slack

    def _other_slack(self, lists: Spent, look: Look) -> tuple[float, float, float]:
        """Return the slack that may be cheaper, what a step is foretold to cost with it, and its building."""
        slack = self.slack / 2 if lists.finding > lists.keeping else self.slack * 2
        if not _LEAST_SLACK <= slack <= _MOST_SLACK:
            return slack, math.inf, 0.0
        own, survey = self._ahead(look, self.slack), self._ahead(look, slack)
        longer = survey.listed / max(own.listed, 1e-9)
        fits = survey.bytes <= self._limits.bytes
        return slack, at_slack(lists, self.slack / slack, longer).seconds if fits else math.inf, survey.building

    def _ahead(self, look: Look, slack: float) -> Survey:
        survey = look(slack)
        self._looked, self._building = self._looked + survey.looking, survey.building
        return survey

    def _best_without(self) -> tuple[str, float]:
        costs = {way: _median(seen).seconds for way, seen in self._seen.items() if seen}
        best = min(costs, key=costs.__getitem__)
        return best, costs[best]


def _median(seen: Sequence[Spent]) -> Spent:
    """Return the lower median of what steps cost, of which the first says little where there are others."""
    return sorted(seen, key=lambda spent: spent.seconds)[(len(seen) - 1) // 2]
