"""Asynchronous successive halving, in the form that stops.

L. Li et al., "A system for massively parallel hyperparameter tuning", 2020: at rungs min_steps * reduction^k a trial goes
on if it is among the best 1 / reduction of those that have reached the rung, itself included. Nobody waits; early
arrivals are judged by few, and the first always goes on.
"""

from search.definition.prunings import AshaPruning


def rung(pruning: AshaPruning, step: int) -> bool:
    """Say whether a decision is due at this step."""
    at = pruning.min_steps
    while at < step:
        at *= pruning.reduction
    return at == step


def rungs(pruning: AshaPruning, last: int) -> list[int]:
    """Return the steps below `last` at which a decision is due."""
    steps, at = [], pruning.min_steps
    while at < last:
        steps.append(at)
        at *= pruning.reduction
    return steps


def keep(pruning: AshaPruning, size: int) -> int:
    """Return how many of `size` values at a rung go on."""
    return max(1, size // pruning.reduction)
