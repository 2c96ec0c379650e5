"""The percentile rule: who is not among the best `percentile` of a hundred values at one step stops; the median is 50.

D. Golovin et al., "Google Vizier", 2017, has the median rule, there over averages; ours compares the values of one step.
"""

from fractions import Fraction

from search.definition.prunings import MedianPruning, PercentilePruning


def rung(pruning: MedianPruning | PercentilePruning, step: int, bracket: int) -> bool:
    """Say whether a decision is due: every `interval` steps after the warm-up."""
    del bracket
    since = step - pruning.warmup
    return since > 0 and since % pruning.interval == 0


def rungs(pruning: MedianPruning | PercentilePruning, last: int) -> list[int]:
    """Return the steps below `last` at which a decision is due."""
    return list(range(pruning.warmup + pruning.interval, last, pruning.interval))


def keep(pruning: MedianPruning | PercentilePruning, size: int) -> int:
    """Return how many of `size` values at a step go on: all up to `startup`, then the best share, rounded up."""
    share = Fraction(1, 2) if isinstance(pruning, MedianPruning) else Fraction(str(pruning.percentile)) / 100
    return size if size <= pruning.startup else -(-size * share // 1)
