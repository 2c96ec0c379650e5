"""Several losses at once: who dominates whom, fronts, crowding, and the volume that points dominate.

Losses are tuples of finite numbers of one length, lower is better. A point dominates another if it is at least as good in
every loss and not equal to it. Pure Python: whole sets of points are compared as the bits of one integer, so that ten
thousand points take some ten milliseconds a loss.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import le, lt
from typing import TypeAlias

Losses: TypeAlias = tuple[float, ...]

_BLOCK = 16384  # points compared at once; the bits of n points with each other take n^2 / 8 bytes


def dominates(left: Losses, right: Losses) -> bool:
    """Say whether `left` is at least as good in every loss, and better in one."""
    return left != right and all(map(le, left, right))


def dominators(points: Sequence[Losses]) -> list[int]:
    """Return for each point which others dominate it, as bits: bit k stands for the k-th point."""
    masks = [(1 << len(points)) - 1] * len(points)
    for loss in range(len(points[0]) if points else 0):
        ordered = sorted(range(len(points)), key=lambda place: points[place][loss])
        not_worse = 0
        for _, tied in groupby(ordered, key=lambda place: points[place][loss]):
            places = list(tied)
            for place in places:
                not_worse |= 1 << place
            for place in places:
                masks[place] &= not_worse
    equal: dict[Losses, int] = {}
    for place, point in enumerate(points):
        equal[point] = equal.get(point, 0) | 1 << place
    return [mask ^ equal[point] for mask, point in zip(masks, points, strict=True)]


def front(points: Sequence[Losses]) -> list[int]:
    """Return the places of the points that none dominates, in order; of equal points all."""
    best: list[int] = []
    for start in range(0, len(points), _BLOCK):
        best += range(start, min(start + _BLOCK, len(points)))
        masks = dominators([points[place] for place in best])
        best = [place for place, mask in zip(best, masks, strict=True) if not mask]
    return best


def fronts(points: Sequence[Losses]) -> Iterator[list[int]]:
    """Yield the places of the first front, then of that among the rest, and so on (Deb et al., 2002)."""
    masks = dominators(points)
    left, remaining = list(range(len(points))), (1 << len(points)) - 1
    while left:
        found = [place for place in left if not masks[place] & remaining]
        yield found
        for place in found:
            remaining ^= 1 << place
        left = [place for place in left if remaining >> place & 1]


def front_numbers(points: Sequence[Losses]) -> list[int]:
    """Return for each point, from 1, the number of its front. Up to two losses cost n log n."""
    if points and len(points[0]) > 2:
        by_place = {place: number for number, places in enumerate(fronts(points), start=1) for place in places}
        return [by_place[place] for place in range(len(points))]
    numbers: dict[Losses, int] = {}
    # By the first loss, so that only earlier points dominate: a front does if the least last loss on it is not greater.
    least: list[float] = []
    for point in sorted(set(points)):
        place = bisect_right(least, point[-1])
        least[place : place + 1] = [point[-1]]
        numbers[point] = place + 1
    return [numbers[point] for point in points]


def crowding(points: Sequence[Losses]) -> list[float]:
    """Return how far from its neighbours each point of a front lies: summed over the losses, each in its range.

    The ends of each loss are infinitely far, so that they are kept. Of equal points the first is at the end.
    """
    distances = [0.0] * len(points)
    for loss in range(len(points[0]) if points else 0):
        ordered = sorted(range(len(points)), key=lambda place: points[place][loss])
        values = [points[place][loss] / 2 for place in ordered]  # halved: no difference of two of them overflows
        width = values[-1] - values[0]
        distances[ordered[0]] = distances[ordered[-1]] = math.inf
        if width > 0:
            for rank in range(1, len(ordered) - 1):
                distances[ordered[rank]] += (values[rank + 1] - values[rank - 1]) / width
    return distances


class Volume:
    """The volume between a reference and the points added so far: exact, at any number of losses.

    Of one and two losses a point costs next to nothing, of three n log n for n points on the front; each further loss
    multiplies that by n.
    """

    def __init__(self, reference: Losses) -> None:
        self.value = 0.0
        self._reference = reference
        self._front: list[Losses] = []  # sorted, so with two losses a staircase

    def add(self, point: Losses) -> None:
        """Add the volume that this point alone dominates; one that is not better than the reference has none."""
        if not all(map(lt, point, self._reference)):
            return
        if len(point) == 2:
            self._step(point)
        elif not any(all(map(le, other, point)) for other in self._front):
            shared = [tuple(map(max, point, other)) for other in self._front]
            self.value += _box(point, self._reference) - hypervolume(shared, self._reference)
            self._front = [point, *(other for other in self._front if not dominates(point, other))]

    def _step(self, point: Losses) -> None:
        """Put a point into the staircase; only its neighbours matter."""
        stairs, (right, top) = self._front, self._reference
        first = bisect_left(stairs, point)
        if first < len(stairs) and stairs[first] == point:
            return
        x, y = point
        if first > 0:
            top = stairs[first - 1][1]
        if top <= y:
            return
        last = first
        while last < len(stairs) and stairs[last][1] >= y:
            following = stairs[last]
            self.value += (following[0] - x) * (top - y)
            x, top = following
            last += 1
        end = stairs[last][0] if last < len(stairs) else right
        self.value += (end - x) * (top - y)
        stairs[first:last] = [point]


def _box(point: Losses, reference: Losses) -> float:
    return math.prod(far - near for near, far in zip(point, reference, strict=True))


def hypervolume(points: Sequence[Losses], reference: Losses) -> float:
    """Return the exact volume that the points dominate, up to the reference: slices along the last loss."""
    if len(reference) <= 2:
        whole = Volume(reference)
        for point in points:
            whole.add(point)
        return whole.value
    slices = sorted((point for point in points if point[-1] < reference[-1]), key=lambda point: point[-1])
    ends = [point[-1] for point in slices[1:]] + [reference[-1]]
    area, total = Volume(reference[:-1]), 0.0
    for point, end in zip(slices, ends, strict=False):  # without slices the only end is left over
        area.add(point[:-1])
        total += area.value * (end - point[-1])
    return total
