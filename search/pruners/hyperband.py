"""Brackets of asha, as a hedge against a first rung that comes too early.

L. Li et al., "Hyperband: a novel bandit-based approach to hyperparameter optimization", 2018, with asynchronous halving
within each bracket. Bracket b of B = floor(log_reduction(max_steps / min_steps)) + 1 has its first rung at
min_steps * reduction^b, and trials compete with those of their own bracket alone. Of the trials it gets the share
ceil(B * reduction^s / (s + 1)) with s = B - 1 - b, so that all brackets train about as many steps.
"""

from bisect import bisect_right
from functools import cache
from itertools import accumulate

from search.definition.prunings import HyperbandPruning
from search.pruners.asha import halves, ladder
from search.space.sampling import BRACKET_SALT, Draws

# Multiples of it, modulo one, are spread evenly however many there are (a Kronecker sequence).
_GOLDEN = (5**0.5 - 1) / 2


def bracket(pruning: HyperbandPruning, number: int, seed: int) -> int:
    """Return the bracket of a trial, from 0: of `seed` and its number alone, and in nearly even proportion."""
    shares = _shares(pruning)
    place = (Draws(seed, 0, salt=BRACKET_SALT).uniform() + number * _GOLDEN) % 1.0
    return min(bisect_right(shares, place * shares[-1]), len(shares) - 1)


def rung(pruning: HyperbandPruning, step: int, bracket: int) -> bool:
    """Say whether a decision is due at this step for a trial of this bracket."""
    return halves(pruning.min_steps * pruning.reduction**bracket, pruning.reduction, step)


def rungs(pruning: HyperbandPruning, last: int) -> list[int]:
    """Return the steps below `last` at which a decision is due in some bracket: those of the first."""
    return ladder(pruning.min_steps, pruning.reduction, last)


def keep(pruning: HyperbandPruning, size: int) -> int:
    """Return how many of `size` values at a rung of one bracket go on."""
    return max(1, size // pruning.reduction)


@cache
def _shares(pruning: HyperbandPruning) -> list[int]:
    """Add up how many trials each bracket gets, from the first on."""
    first, count = pruning.min_steps, 1
    # In whole numbers: the logarithm of 1000 to the base 10 is a little less than 3.
    while (first := first * pruning.reduction) <= (pruning.max_steps or 0):
        count += 1
    ranks = range(count - 1, -1, -1)
    return list(accumulate(-(-count * pruning.reduction**rank // (rank + 1)) for rank in ranks))
