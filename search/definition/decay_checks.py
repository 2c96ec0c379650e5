"""Check that weight decay leaves something of the weights where `sparse_sgd` keeps it as one factor on all of them."""

from collections.abc import Mapping

from optim.catalog import TRAINERS, by_name
from search.definition.objectives import Recipe
from search.errors import Fault
from search.space.derived import bounds
from search.space.nodes import Space
from search.space.parameters import DerivedParameter, Setting

_TRAINER, _RATE, _DECAY = "sparse_sgd", "lr", "weight_decay"


def decay_faults(recipe: Recipe, fixed: Mapping[str, Setting], space: Space, faulty: frozenset[str]) -> list[Fault]:
    """Return a fault where `lr * weight_decay` is 1 or more whatever a trial takes, so that each of them would diverge.

    A schedule does not help: every one begins with the rate itself, or rises to it.
    """
    if recipe.default_optimizer != _TRAINER or faulty & {_RATE, _DECAY}:
        return []
    rate, decay = (_least(name, fixed, space) for name in (_RATE, _DECAY))
    if rate is None or decay is None or not (rate > 0 and decay > 0 and rate * decay >= 1):
        return []
    least = "at least " if _RATE in space or _DECAY in space else ""
    message = (
        f"times lr must be under 1, or nothing is left of the weights, got {least}{decay:g} times {rate:g}: lower one"
    )
    return [Fault(f"{'objective' if _DECAY in fixed else 'space'}.{_DECAY}", message)]


def _least(name: str, fixed: Mapping[str, Setting], space: Space) -> float | None:
    """Return the least value that an option can have, constraints aside; None where that cannot be told."""
    default = by_name(TRAINERS[_TRAINER].options)[name].default
    values: list[Setting] = [fixed.get(name, default)]
    if name in space:
        found = bounds(space, name)
        sometimes = space[name].when or isinstance(space[name], DerivedParameter)
        values = [] if found is None else [found[0], *([default] if sometimes else [])]
    numbers = [value for value in values if isinstance(value, int | float)]
    return min(numbers, default=None) if len(numbers) == len(values) else None
