"""The default point of a study: what would be run if nothing were tuned."""

from collections.abc import Mapping

from optim.catalog import COMMON, DEFAULT_OPTIMIZER, DEFAULT_SCHEDULE, SCHEDULES, TRAINERS, by_name
from search.definition.kinds import RecipeObjective
from search.definition.planning import plan_of
from search.definition.schema import StudyDefinition
from search.space.choosing import choose_point, middle, nearest
from search.space.parameters import Point, Searched, Setting, Value
from search.space.plan import mend
from search.space.sampling import WITNESS_SALT, Draws

_NAMED: Mapping[str, str] = {"optimizer": DEFAULT_OPTIMIZER, "schedule": DEFAULT_SCHEDULE}


def default_point(definition: StudyDefinition) -> tuple[Point, dict[str, str]]:
    """Return the default point and, by parameter, where its value comes from.

    `space` is the parameter's own `default`; `catalog` the default of a recipe's option, brought into the range where
    it lies outside; `middle` the middle of the range on its scale, or the first choice; `fixed` and `derived` what is
    not searched; `constraints` what had to be moved into these.
    """
    the_plan = plan_of(definition)
    chosen: dict[str, Value] = {}

    def choose(name: str, parameter: Searched) -> tuple[Value, str]:
        # Parents come first, so the optimizer is known before its options.
        chosen[name], source = default_of(definition, name, parameter, chosen)
        return chosen[name], source

    wanted, sources = choose_point(the_plan, choose)
    # Always the same draws, so always the same point.
    point = mend(the_plan, wanted, Draws(0, 0, salt=WITNESS_SALT))
    for name, value in point.items():
        if definition.space[name].type in {"fixed", "derived"}:
            sources[name] = definition.space[name].type
        elif value != wanted.get(name):
            sources[name] = "constraints"
    return point, {name: sources[name] for name in point}


def default_of(
    definition: StudyDefinition, name: str, parameter: Searched, chosen: Mapping[str, Value]
) -> tuple[Value, str]:
    """Return a parameter's default beside what is `chosen` of the point, and where it comes from."""
    if parameter.default is not None:
        return parameter.default, "space"
    if isinstance(definition.objective, RecipeObjective):
        optimizer = definition.objective.settled_optimizer
        settled = {} if optimizer is None else {"optimizer": optimizer}
        known = _catalog(name, {**settled, **_scalars(definition.objective.fixed), **chosen})
        found = nearest(parameter, known) if known is not None else None
        if found is not None:
            return found[0], "catalog"
    return middle(parameter), "middle"


def _scalars(fixed: Mapping[str, Setting]) -> dict[str, Value]:
    return {name: value for name, value in fixed.items() if not isinstance(value, tuple)}


def _catalog(name: str, chosen: Mapping[str, Value]) -> Value:
    """Return a recipe's default of an option under what is chosen already; None where the catalog has none."""
    if name in _NAMED:
        return _NAMED[name]
    optimizer = TRAINERS.get(str(chosen.get("optimizer", DEFAULT_OPTIMIZER)))
    schedule = SCHEDULES.get(str(chosen.get("schedule", DEFAULT_SCHEDULE)))
    for options in (
        by_name(optimizer.options) if optimizer is not None else {},
        by_name(schedule.options) if schedule is not None else {},
        COMMON,
    ):
        if name in options:
            default = options[name].default
            return None if isinstance(default, tuple) else default
    return None
