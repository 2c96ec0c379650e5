"""Few trials are for few parameters (V. Godbole et al., "Deep learning tuning playbook", 2023).

What the catalog would not search in a study of so many trials stays at its default, where it has one in its range. It is
settled when a study is posted and stored with it (`search.held`), so that another budget later changes no suggestion.
"""

from collections.abc import Mapping, Sequence

from optim.catalog import COMMON, TRAINERS, Option
from search.definition.kinds import RecipeObjective
from search.definition.schema import StudyDefinition
from search.errors import Fault
from search.space.axes import lattice
from search.space.parameters import CategoricalParameter, DerivedParameter, FixedParameter, Parameter, Searched, Value


def advised(definition: StudyDefinition) -> tuple[str, ...]:
    """Name the parameters that a study of so few trials does not search; none that a constraint needs to move."""
    bound = {name for constraint in definition.constraints for name in constraint.terms}
    return tuple(
        name
        for name in sorted(definition.space)
        if name not in bound
        and (options := _options(definition, name))
        and all(option.search_from > definition.trials for option in options)
        and kept(definition, name) is not None
    )


def held(definition: StudyDefinition, names: Sequence[str]) -> Mapping[str, Value]:
    """Return the values that these parameters keep."""
    return {name: kept(definition, name) for name in names}


def held_faults(definition: StudyDefinition, names: Sequence[str]) -> list[Fault]:
    """Say which of these names cannot be held."""
    bound = {name for constraint in definition.constraints for name in constraint.terms}
    faults = []
    for index, name in enumerate(names):
        path = f"search.held[{index}]"
        if name not in definition.space:
            faults.append(
                Fault(path, f"there is no parameter {name!r}; valid are {', '.join(sorted(definition.space))}")
            )
        elif name in bound:
            faults.append(Fault(path, f"{name} is a term of a constraint and has to move"))
        elif kept(definition, name) is None:
            faults.append(Fault(path, f"{name} has no default in its range: give it one, or make it fixed"))
    return faults


def kept(definition: StudyDefinition, name: str) -> Value:
    """Return the value that a searched parameter keeps when it is held; None if it has no default in its range."""
    parameter = definition.space[name]
    if isinstance(parameter, FixedParameter | DerivedParameter):
        return None
    given = [parameter.default, *(option.default for option in _options(definition, name))]
    return next((value for value in given if _takes(parameter, value)), None)  # type: ignore[return-value]


def _options(definition: StudyDefinition, name: str) -> list[Option]:
    """Return what the catalog has of this name for the optimizers of a recipe; none for another objective."""
    objective = definition.objective
    if not isinstance(objective, RecipeObjective) or isinstance(
        definition.space[name], FixedParameter | DerivedParameter
    ):
        return []
    found = [
        option
        for each in _optimizers(definition.space.get("optimizer"), objective.settled_optimizer)
        if each in TRAINERS
        for option in TRAINERS[each].options
        if option.name == name
    ]
    return found + ([COMMON[name]] if name in COMMON else [])


def _optimizers(parameter: Parameter | None, fixed: str | None) -> list[str]:
    if isinstance(parameter, CategoricalParameter):
        return [str(choice) for choice in parameter.choices]
    return [str(parameter.value)] if isinstance(parameter, FixedParameter) else [fixed] if fixed else []


def _takes(parameter: Searched, value: object) -> bool:
    if value is None or isinstance(value, tuple):
        return False
    axis = lattice(parameter)
    if axis is not None:
        return axis.place(value) is not None  # type: ignore[arg-type]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and not isinstance(parameter, CategoricalParameter) and parameter.low <= value <= parameter.high  # type: ignore[operator]
