"""Lineages of trials, each going on from its parent's checkpoint: what a study must say for them, and what stays as it is."""

from collections.abc import Iterator, Mapping
from typing import Any

from search.definition.kinds import ExternalObjective, Objective, RecipeObjective, RegisteredObjective
from search.definition.limits import Budget
from search.definition.schema import StudyDefinition
from search.definition.searches import PbtSearch
from search.definition.starts import OFF
from search.errors import Fault
from search.space.parameters import DerivedParameter, FixedParameter, FloatParameter, Parameter

# Numbers of a recipe that say whether there is a link of the optimizer's at all: its state would have another shape.
_LINKS = frozenset({"clip_value", "clip_layer_norm", "clip_norm", "ema", "swa_start"})


def kept(definition: StudyDefinition) -> frozenset[str]:
    """Name the parameters that a child has from its parent as they are.

    Of a recipe these are all that do not leave shapes, the optimizer's state and the steps of an epoch as they are: its
    choices, its whole numbers (`batch_size`), and what switches clipping or averages on.
    """
    search, space = definition.search, definition.space
    named = search.keep if isinstance(search, PbtSearch) else ()
    own = _kept_by_recipe(space) if isinstance(definition.objective, RecipeObjective) else frozenset()
    return own | frozenset(named)


def _kept_by_recipe(space: Mapping[str, Parameter]) -> frozenset[str]:
    return frozenset(
        name for name, parameter in space.items() if not isinstance(parameter, FloatParameter) or name in _LINKS
    )


def lineage_faults(search: PbtSearch, parts: Mapping[str, Any], *, pruned: bool) -> list[Fault]:
    """Return what contradicts a search over lineages, of the `parts` of the study that could be read."""
    objective, parallelism = parts.get("objective"), parts.get("parallelism")
    faults = _length_faults(search, objective) + _budget_faults(search, objective, parts.get("budget", Budget()))
    if isinstance(objective, RegisteredObjective):
        message = "pbt needs an objective that goes on from its parent: use a recipe, or external"
        faults.append(Fault("search.strategy", message))
    if parallelism is not None and parallelism > search.population:
        message = f"no more than the population of {search.population} run at a time, got {parallelism}; leave it out"
        faults.append(Fault("parallelism", message))
    if pruned:
        faults.append(Fault("pruning", "pbt itself ends what does worst: leave it out, or use another strategy"))
    return faults + [Fault(name, f"{why}: leave it out") for name, why in _foreign(parts)]


def _foreign(parts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what makes trials that belong to no lineage."""
    if parts.get("verdict") is not None:
        yield "verdict", "a result of pbt is a lineage of several points, which a run of one point cannot repeat"
    for name in ("start_from_default", "warm_start"):
        if parts.get(name) not in {None, False, OFF}:
            yield name, "the members of pbt begin at points of its own"


def space_faults(search: PbtSearch, objective: Objective | None, space: Mapping[str, Parameter]) -> list[Fault]:
    """Return which names to keep there are not, and whether nothing is left to explore."""
    faults = [
        Fault(f"search.keep[{place}]", f"the space has no {name!r}; it has {', '.join(space)}")
        for place, name in enumerate(search.keep)
        if name not in space
    ]
    free = {name for name, each in space.items() if not isinstance(each, FixedParameter | DerivedParameter)}
    if isinstance(objective, RecipeObjective):
        free -= _kept_by_recipe(space)
    if space and not free - set(search.keep):
        what = "floats, such as lr, " if isinstance(objective, RecipeObjective) else "parameters that are not kept "
        faults.append(Fault("space", f"pbt explores {what}and there is none: add one, or use another strategy"))
    return faults


def _length_faults(search: PbtSearch, objective: Objective | None) -> list[Fault]:
    last = None if objective is None else objective.last_step
    if last is None or (last % search.interval == 0 and last >= 2 * search.interval):
        return []
    path = "objective.steps" if isinstance(objective, ExternalObjective) else "objective.epochs"
    whole = [size for size in range(last // 2, 0, -1) if last % size == 0]
    near = f": give {_nearest(whole, search.interval)}" if whole else ""
    message = f"must divide {path} ({last}) at least twice, got {search.interval}{near}, or change {path}"
    return [Fault("search.interval", message)]


def _nearest(sizes: list[int], wanted: int) -> int:
    return min(sizes, key=lambda size: (abs(size - wanted), size))


def _budget_faults(search: PbtSearch, objective: Objective | None, budget: Budget | None) -> list[Fault]:
    if objective is None or budget is None:
        return []
    if budget.trials is None:
        if objective.last_step is not None:
            return []
        message = "is required where the objective does not say with which step a lineage ends (objective.steps)"
        return [Fault("budget.trials", message)]
    if budget.trials >= 2 * search.population:
        return []
    message = f"must be at least {2 * search.population}, two trials of each member, got {budget.trials}"
    return [Fault("budget.trials", message)]
