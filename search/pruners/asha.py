"""Asynchronous successive halving.

L. Li et al., "A system for massively parallel hyperparameter tuning", 2020: at rungs min_steps * reduction^k a trial goes
on if it is among the best 1 / reduction of those that have reached the rung, itself included.

Stopping: nobody waits; early arrivals are judged by few, and the first always goes on. Promoting: who is behind waits,
and goes on once it is among the best 1 / reduction; before `reduction` trials have come, nobody does.
"""

from search.definition.prunings import AshaPruning


def rung(pruning: AshaPruning, step: int, bracket: int) -> bool:
    """Say whether a decision is due at this step."""
    del bracket
    return halves(pruning.min_steps, pruning.reduction, step)


def rungs(pruning: AshaPruning, last: int) -> list[int]:
    """Return the steps below `last` at which a decision is due."""
    return ladder(pruning.min_steps, pruning.reduction, last)


def keep(pruning: AshaPruning, size: int) -> int:
    """Return how many of `size` values at a rung go on."""
    best = size // pruning.reduction
    return best if pruning.mode == "promote" else max(1, best)


def halves(first: int, reduction: int, step: int) -> bool:
    """Say whether `step` is first * reduction^k for some k >= 0."""
    at = first
    while at < step:
        at *= reduction
    return at == step


def ladder(first: int, reduction: int, last: int) -> list[int]:
    """Return first * reduction^k below `last`."""
    steps, at = [], first
    while at < last:
        steps.append(at)
        at *= reduction
    return steps
