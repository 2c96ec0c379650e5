"""Who is how good at a rung: by one loss, or by several.

As NSGA-II selects (Deb et al., 2002), and MO-ASHA after it (Schmucker et al., "Multi-objective asynchronous successive
halving", 2021): by front, and within a front those first that lie far from their neighbours. With one loss every value is
a front of its own, so that is the order of losses.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import groupby

from search.pareto import Losses, crowding, front_numbers


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a trial stands among others, both from 1, the best. Equals have the same rank: one more than are better."""

    front: int
    rank: int


def standings(rung: Mapping[int, Losses], numbers: Collection[int]) -> dict[int, Standing]:
    """Return where these trials stand among all at a rung, whose losses (lower is better) are given by trial.

    Nothing depends on the order of trials: of a front each place counts once for crowding, however many are on it, and
    those at its ends, which are the best in some loss, are equals.
    """
    fronts: dict[int, list[Losses]] = {}
    by_number = dict(zip(rung, front_numbers(list(rung.values())), strict=True))
    for number, front in by_number.items():
        fronts.setdefault(front, []).append(rung[number])
    found: dict[int, Standing] = {}
    for front in {by_number[number] for number in numbers}:
        ahead = sum(len(points) for other, points in fronts.items() if other < front)
        ranks = _within(fronts[front])
        found |= {
            number: Standing(front, ahead + ranks[rung[number]]) for number in numbers if by_number[number] == front
        }
    return found


def _within(front: Collection[Losses]) -> dict[Losses, int]:
    """Return for each place on a front how many lie farther apart, plus one."""
    held = Counter(sorted(front))
    apart = dict(zip(held, crowding(list(held)), strict=True))
    ranks: dict[Losses, int] = {}
    rank = 1
    for _, tied in groupby(sorted(apart, key=lambda place: -apart[place]), key=lambda place: apart[place]):
        equals = list(tied)
        ranks |= dict.fromkeys(equals, rank)
        rank += sum(held[place] for place in equals)
    return ranks
