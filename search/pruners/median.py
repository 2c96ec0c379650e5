"""The median rule (Golovin et al., "Google Vizier", 2017, here on the values of one step): worse than the median stops."""

from search.definition.prunings import MedianPruning


def rung(pruning: MedianPruning, step: int) -> bool:
    """Say whether a decision is due: every `interval` steps after the warm-up."""
    since = step - pruning.warmup
    return since > 0 and since % pruning.interval == 0


def rungs(pruning: MedianPruning, last: int) -> list[int]:
    """Return the steps below `last` at which a decision is due."""
    return list(range(pruning.warmup + pruning.interval, last, pruning.interval))


def keep(pruning: MedianPruning, size: int) -> int:
    """Return how many of `size` values at a step go on: all up to `startup`, then the better half, the middle one too."""
    return size if size <= pruning.startup else (size + 1) // 2
