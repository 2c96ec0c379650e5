"""Halton's sequence, its digits permuted by a seed: evenly spread points in any number of coordinates.

Coordinate k is the index written backwards in the k-th prime as base; each digit goes through a random permutation of its
own, which takes away the lines on which the first points of large bases lie (A. B. Owen, "A randomized Halton algorithm in
R", 2017). Of any first b^k points each interval of length b^-k holds exactly one in the coordinate of base b.
"""

from itertools import count, islice

from search.space.sampling import HALTON_SALT, Draws

_PRECISION = 2.0**-53


class HaltonSequence:
    """The sequence of one seed in `dimensions` coordinates; it holds no state, so any index may be asked for."""

    def __init__(self, dimensions: int, *, seed: int) -> None:
        self._axes = [_permuted(base, seed, place) for place, base in enumerate(islice(_primes(), dimensions))]

    def __call__(self, index: int) -> list[float]:
        """Return the coordinates of a point, 0 <= each < 1."""
        return [_reversed(index, digits) for digits in self._axes]


def _primes() -> "islice[int] | filter[int]":
    return filter(lambda number: all(number % other for other in range(2, number)), count(2))


def _permuted(base: int, seed: int, dimension: int) -> list[list[int]]:
    """Return a permutation of the digits for each place down to a float's precision."""
    draws = Draws(seed, dimension, salt=HALTON_SALT)
    places = 1
    while base**-places > _PRECISION:
        places += 1
    return [_shuffled(base, draws) for _ in range(places)]


def _shuffled(size: int, draws: Draws) -> list[int]:
    order = list(range(size))
    for last in range(size - 1, 0, -1):
        other = draws.below(last + 1)
        order[last], order[other] = order[other], order[last]
    return order


def _reversed(index: int, digits: list[list[int]]) -> float:
    base = len(digits[0])
    total, weight = 0.0, 1.0
    for permutation in digits:
        index, digit = divmod(index, base)
        weight /= base
        total += permutation[digit] * weight
    return min(total, 1 - _PRECISION)
