"""What a step of a lane costs, as measured, and what follows from it: how many members pay, and who shares a lane.

A step of P members with batches of n examples takes about

    seconds = fixed + P (each + example n)

where `fixed` is what calling the tensor program costs however little is in it. One alone pays it all; a lane pays once.
So a lane pays until `fixed` is a small share of its step; more members would only take longer. Members whose batches
are smaller than others' may be filled up to theirs and share the lane, which costs them examples that do not count;
that pays where it is less than the `fixed` of a lane of their own.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# A number of members counts once it has taken so many steps: the first ones are of no use to anybody's watch.
LEAST_STEPS = 12
# What a number of members seems to take is sure once it was timed so often: that other programs ran meanwhile slows some.
SURE_TIMINGS = 20
# Members are added until the fixed cost of a step is this share of it.
FIXED_SHARE = 0.1
# Idleness is judged over so long, counts if it is more than this share, and enlarges the room by this factor at most.
SPELL_SECONDS = 0.1
IDLE_SHARE = 0.25
MOST_GROWTH = 2.0
# Where calls cost nothing so many are held: while one waits for its verdict and another is claimed, somebody is to be
# trained. More than the latter were never needed to keep a trainer busy, and a search learns from what has ended.
LEAST_ROOM, MOST_HELD = 4, 12
# How many are tried beside the first, before anything is known of how cost grows with them.
FIRST_ROOM = 4


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of a step: `fixed`, and for each member `each` and `example` times the examples of its batch."""

    fixed: float
    each: float
    example: float

    def member(self, size: int) -> float:
        """Return what one more member with batches of this size adds to a step."""
        return self.each + self.example * size


class Clock:
    """The shortest step seen, by how many members it had and how many examples each of them."""

    def __init__(self) -> None:
        self._shortest: dict[tuple[int, int], float] = {}
        self._steps: Counter[tuple[int, int]] = Counter()
        self._timings: Counter[tuple[int, int]] = Counter()

    def take(self, members: int, size: int, seconds: float, *, steps: int = 1) -> None:
        """Take the seconds of a step, or of each of several."""
        key = members, size
        self._steps[key] += steps
        self._timings[key] += 1
        self._shortest[key] = min(seconds, self._shortest.get(key, seconds))

    @property
    def known(self) -> dict[tuple[int, int], float]:
        """Where enough steps were taken to go by."""
        return {key: took for key, took in self._shortest.items() if self._steps[key] >= LEAST_STEPS}

    @property
    def sure(self) -> bool:
        """Whether some number of several members was timed often enough to say that they do not pay."""
        return any(members > 1 and count >= SURE_TIMINGS for (members, _), count in self._timings.items())

    def about(self, members: int, size: int) -> float:
        """Return about how long such a step takes; 0 before any was taken."""
        as_large = [took for key, took in self._shortest.items() if key[0] >= members and key[1] >= size]
        return min(as_large) if as_large else max(self._shortest.values(), default=0.0)


def fitted(seconds: Mapping[tuple[int, int], float]) -> Costs | None:
    """Fit the costs to the shortest step seen by (members, size); None before two numbers of members were seen.

    Where too little was seen to tell them apart, all of a member's cost is taken to lie in its examples.
    """
    if len({members for members, _ in seconds}) < 2:
        return None
    many = len(seconds) > 2 and len({size for _, size in seconds}) > 1
    rows = [[1.0, members, members * size] if many else [1.0, members * size] for members, size in seconds]
    times = np.array(list(seconds.values()))
    # By relative error: a step of one member counts as much as one of a hundred.
    found, *_ = np.linalg.lstsq(np.array(rows) / times[:, None], np.ones_like(times), rcond=None)
    fixed, each, example = (found[0], found[1], found[2]) if many else (found[0], 0.0, found[1])
    return Costs(max(float(fixed), 0.0), max(float(each), 0.0), max(float(example), 1e-12))


def room(costs: Costs | None, sizes: Iterable[int], *, most: int, sure: bool = True) -> int:
    """Return how many members pay in all, in lanes for these sizes of batches; at most `most`, at least 1.

    Before costs are `sure` a few are tried whatever they seem to be: with room for one nothing more would be learned.
    """
    if costs is None:
        return min(FIRST_ROOM, most)
    least = 1 if sure else FIRST_ROOM
    wanted = sum(costs.fixed * (1 / FIXED_SHARE - 1) / costs.member(size) for size in sizes)
    return min(most, max(least, round(wanted)))


class Leisure:
    """How many trials a trainer must hold not to stand idle while some wait for verdicts, and others have yet to come.

    Watched in spells: whoever was busy half of one with so many trials needs twice as many.
    """

    def __init__(self, least: int = 1) -> None:
        self.least = least
        self._busy = self._idle = 0.0

    def work(self, seconds: float) -> None:
        """Take so much time of work."""
        self._busy += seconds

    def rest(self, seconds: float) -> None:
        """Take so much time in which nothing could be done though trials were held."""
        self._idle += seconds

    def judge(self, room: int) -> int:
        """Return the least room, after what was seen with this one."""
        spell = self._busy + self._idle
        if spell >= SPELL_SECONDS:
            if self._idle > IDLE_SHARE * spell:
                longer = min(spell / max(self._busy, 1e-9), MOST_GROWTH)
                self.least = max(self.least, min(MOST_HELD, math.ceil(room * longer)))
            self._busy = self._idle = 0.0
        return self.least


def shared_sizes(members: Mapping[int, int], costs: Costs | None) -> dict[int, int]:
    """Say for each size of batches to which it is filled up, given how many members have it: lanes are one for each.

    From the smallest on, a size joins the next one where the examples that do not count cost less than its own lane's
    fixed cost would. A member with smaller batches has more of them to step through, each filled up. Before costs are
    known all share one lane.
    """
    sizes = sorted(members)
    if costs is None:
        return dict.fromkeys(sizes, sizes[-1])
    shared = dict(zip(sizes, sizes, strict=True))
    for small, large in pairwise(sizes):
        filled = [size for size in sizes if shared[size] == small]
        extra = costs.member(large) - costs.member(small)
        waste = sum(members[size] * large / size for size in filled) * extra
        if waste < costs.fixed:
            shared |= dict.fromkeys(filled, large)
    return shared
