"""How alike two studies are, and their points in each other's space: for warm starts. No database in sight."""

from collections.abc import Iterator, Mapping, Sequence

from search.definition.defaults import default_of
from search.definition.kinds import RecipeObjective
from search.definition.planning import plan_of
from search.definition.schema import StudyDefinition
from search.definition.searches import GridSearch
from search.errors import TuneupError
from search.space.choosing import choose_point, into_constraints, nearest
from search.space.parameters import CategoricalParameter, FloatParameter, IntParameter, Point, Searched, Value, identity
from search.space.plan import Plan, dedupe_key
from search.space.scales import WARPS

# What a definition is made of that decides its results; the rest is names, speed and what is asked besides.
_DECISIVE = (
    "objective",
    "metrics",
    "space",
    "constraints",
    "pruning",
    "stopping",
    "report",
    "verdict",
    "start_from_default",
    "warm_start",
)


class _Foreign(TuneupError):
    """A point has a choice that the space does not, or finds no place within its constraints."""


def similarity(new: StudyDefinition, old: StudyDefinition, *, same_fingerprint: bool) -> tuple[float, ...] | None:
    """Return what to rank an earlier study by, larger being more alike; None where its points say nothing of this one.

    First the fingerprint, then the share of searched parameters and of their ranges that both have, then network, data and kind
    of the objective. The optimized metric must be the same, in name and goal.
    """
    if new.objectives != old.objectives:
        return None
    first, second = ({node.name: node.parameter for node in plan_of(each).nodes} for each in (new, old))
    overlaps = [_overlap(first[name], second[name]) for name in first.keys() & second.keys()]
    if not any(overlaps):
        return None
    return (
        float(same_fingerprint),
        round(sum(overlaps) / len(first.keys() | second.keys()), 3),
        float(_of(new) == _of(old)) + float(type(new.objective) is type(old.objective)),
    )


def _of(definition: StudyDefinition) -> object:
    objective = definition.objective
    if isinstance(objective, RecipeObjective):
        return objective.recipe, objective.data, objective.network
    return objective


def _overlap(new: Searched, old: Searched) -> float:
    """Return the share of what either takes that both take, in [0, 1], on the new one's scale."""
    if isinstance(new, CategoricalParameter) or isinstance(old, CategoricalParameter):
        if not (isinstance(new, CategoricalParameter) and isinstance(old, CategoricalParameter)):
            return 0.0
        first, second = ({identity(choice) for choice in each.choices} for each in (new, old))
        return len(first & second) / len(first | second)
    low, high = max(new.low, old.low), min(new.high, old.high)
    if low > high:
        return 0.0
    whole = _onto_scale(new, max(new.high, old.high)) - _onto_scale(new, min(new.low, old.low))
    return (_onto_scale(new, high) - _onto_scale(new, low)) / whole if whole > 0 else 1.0


def _onto_scale(parameter: FloatParameter | IntParameter, value: float) -> float:
    """Return where a value lies on the parameter's scale; one that the scale does not have lies at the range's end."""
    onto, _ = WARPS[parameter.scale]
    try:
        return onto(value)
    except ValueError:
        return onto(min(max(value, parameter.low), parameter.high))


def carried(
    new: StudyDefinition, points: Sequence[tuple[int, Mapping[str, Value]]], *, besides: Sequence[Mapping[str, Value]]
) -> Iterator[tuple[int, dict[str, Value]]]:
    """Yield points (each with its number) as points of the new space: distinct ones, and none of `besides`.

    Numbers are brought into their ranges and into the constraints, parameters that a point lacks take their default,
    what is fixed or derived is the new space's. A point is dropped whose choice the space does not have.
    """
    the_plan = plan_of(new)
    seen = {dedupe_key(point) for point in besides}
    for number, old in points:
        try:
            point = _carry(new, the_plan, old)
        except _Foreign:
            continue
        if (key := dedupe_key(point)) not in seen:
            seen.add(key)
            yield number, point


def _carry(new: StudyDefinition, the_plan: Plan, old: Mapping[str, Value]) -> Point:
    def choose(name: str, parameter: Searched) -> tuple[Value, str]:
        if name not in old:
            return default_of(new, name, parameter, old)
        found = nearest(parameter, old[name])
        if found is None:
            raise _Foreign(name)
        return found[0], ""

    point = into_constraints(the_plan, choose_point(the_plan, choose)[0])
    if point is None:
        raise _Foreign("constraints")
    return point


def repeats(new: StudyDefinition, old: StudyDefinition, *, imported: int = 0) -> bool:
    """Say whether an earlier study answers what this one asks: the same in all that decides results, and no less budget.

    A seed left out asks for any. The `imported` trials of the earlier one raised its budget, and were no search of its
    own; on a grid they raised nothing.
    """
    first, second = (each.model_dump(mode="json") for each in (new, old))
    searches = [{key: value for key, value in each["search"].items() if key != "seed"} for each in (first, second)]
    same_seed = new.search.seed is None or new.search.seed == old.search.seed
    own = old.trials if isinstance(old.search, GridSearch) else old.trials - imported
    within = new.trials <= own and all(
        limit is None or (wanted is not None and wanted <= limit)
        for wanted, limit in zip(_time_limits(new), _time_limits(old), strict=True)
    )
    return (
        same_seed and within and searches[0] == searches[1] and all(first[name] == second[name] for name in _DECISIVE)
    )


def _time_limits(definition: StudyDefinition) -> tuple[float | None, float | None]:
    return definition.budget.seconds, definition.budget.gpu_seconds
