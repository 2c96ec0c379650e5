"""Check the hyperparameters of a recipe's study against the catalog of optimizers and schedules.

A name stands in the space or is fixed in the objective. It must be common to all (`warmup`, `batch_size`) or an option of
every optimizer (schedule) that can be chosen where it is active; the fault says which `when` would make it so. A list of
points can be fixed but not searched.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from optim.catalog import Option
from search.definition.idle import idle_faults
from search.definition.objectives import Recipe
from search.definition.options import FAMILIES, is_option
from search.errors import Fault
from search.space.derived import bounds
from search.space.nodes import Space
from search.space.parameters import (
    CategoricalParameter,
    DerivedParameter,
    FixedParameter,
    FloatParameter,
    Parameter,
    Setting,
    Value,
)


@dataclass(frozen=True, slots=True)
class _Family:
    """A choice that brings options with it: the optimizer or the schedule. `chosen` in order; None = unreadable."""

    name: str
    options: Mapping[str, Mapping[str, Option]]
    chosen: tuple[str, ...] | None

    def having(self, option: str) -> list[str]:
        return [choice for choice, options in self.options.items() if option in options]


@dataclass(frozen=True, slots=True)
class _Offer:
    """What can be set in a study of this recipe: the options common to all, and those of the families' choices."""

    recipe: Recipe
    common: Mapping[str, Option]
    families: tuple[_Family, ...]

    def family_of(self, name: str) -> _Family | None:
        return next((family for family in self.families if family.having(name)), None)

    @property
    def options(self) -> dict[str, Option]:
        """All that can be given, by name; of one name the last, which has the default of all where defaults are asked for."""
        held = [family.options[choice] for family in self.families for choice in family.chosen or ()]
        return {name: option for options in (self.common, *held) for name, option in options.items()}


def option_faults(recipe: Recipe, fixed: Mapping[str, Setting], space: Space, faulty: frozenset[str]) -> list[Fault]:
    """Return every fault of the names and values fixed in the objective and searched in the space.

    `faulty` are parameters that could not be read; what was saved of them may stand in `space`, with null in its gaps.
    """
    offer = _offer(recipe, fixed, space, faulty)
    faults = [
        Fault(f"objective.{name}", "stands in the space as well: drop one of the two")
        for name in fixed
        if name in space or name in faulty
    ]
    faults += idle_faults(fixed, space, faulty, offer.options)
    for name, value in fixed.items():
        if name in FAMILIES:
            faults += _choice_faults(f"objective.{name}", name, [("", value)], recipe)
        else:
            faults += _fixed_faults(name, value, offer)
    sources = {
        parent for each in space.values() if isinstance(each, DerivedParameter) for parent in each.parents if parent
    }
    for name, parameter in space.items():
        if name in FAMILIES:
            faults += _choice_parameter_faults(name, parameter, recipe)
        elif name not in sources or is_option(name):
            faults += _parameter_faults(name, offer, space)
    unread = sorted(faulty - space.keys() - FAMILIES.keys())
    return faults + [
        _unknown(f"space.{name}", name, offer) for name in unread if not is_option(name) and name not in sources
    ]


def _offer(recipe: Recipe, fixed: Mapping[str, Setting], space: Space, faulty: frozenset[str]) -> _Offer:
    defaults = {name: default for name, (_, default) in FAMILIES.items()} | {"optimizer": recipe.default_optimizer}
    families = tuple(_family(name, default, recipe, fixed, space, faulty) for name, default in defaults.items())
    return _Offer(recipe, recipe.common, families)


def _family(
    name: str, default: str, recipe: Recipe, fixed: Mapping[str, Setting], space: Space, faulty: frozenset[str]
) -> _Family:
    options, _ = FAMILIES[name]
    known = set(options) & set(recipe.optimizers) if name == "optimizer" else set(options)
    parameter = space.get(name)
    if parameter is None:
        given: tuple[Setting, ...] = () if name in faulty else (fixed.get(name, default),)
    else:
        # A choice that is itself conditional falls back to the default where it is inactive.
        given = _choices(parameter) + ((default,) if parameter.when else ())
    chosen = tuple(choice for choice in dict.fromkeys(given) if isinstance(choice, str) and choice in known)
    return _Family(name, options, chosen or None)


def _choices(parameter: Parameter) -> tuple[Value, ...]:
    if isinstance(parameter, FixedParameter):
        return (parameter.value,)
    return tuple(parameter.choices or ()) if isinstance(parameter, CategoricalParameter) else ()


def _choice_parameter_faults(name: str, parameter: Parameter, recipe: Recipe) -> list[Fault]:
    if not isinstance(parameter, CategoricalParameter | FixedParameter):
        return [Fault(f"space.{name}.type", f"must be categorical: the {name} is chosen by name")]
    return _choice_faults(f"space.{name}", name, _named(parameter), recipe)


def _named(parameter: Parameter) -> list[tuple[str, Setting]]:
    """List the values that a parameter names one by one, each with its place below the parameter's path."""
    if isinstance(parameter, FixedParameter):
        return [(".value", parameter.value)]
    return [(f".choices[{index}]", choice) for index, choice in enumerate(_choices(parameter))]


def _choice_faults(path: str, family: str, values: Iterable[tuple[str, Setting]], recipe: Recipe) -> list[Fault]:
    options, _ = FAMILIES[family]
    valid = recipe.optimizers if family == "optimizer" else tuple(options)
    return [
        Fault(f"{path}{where}", _not_among(family, value, valid, recipe, known=value in options))
        for where, value in values
        if value not in valid
    ]


def _not_among(family: str, value: Setting, valid: Iterable[str], recipe: Recipe, *, known: bool) -> str:
    what = f"the {recipe.name} has no {family}" if known else f"unknown {family}"
    return f"{what} {value!r}; valid are {', '.join(valid)}{_because(recipe)}"


def _because(recipe: Recipe) -> str:
    return f": {recipe.because}" if recipe.because else ""


def _unknown(path: str, name: str, offer: _Offer) -> Fault:
    held = [family.options[choice] for family in offer.families for choice in family.chosen or ()]
    valid = dict.fromkeys([*offer.recipe.names, *(option for options in held for option in options)])
    why = _because(offer.recipe) if is_option(name) else ""
    return Fault(
        path, f"the {offer.recipe.name} has no hyperparameter {name!r}; valid here are {', '.join(valid)}{why}"
    )


def _fixed_faults(name: str, value: Setting, offer: _Offer) -> list[Fault]:
    path = f"objective.{name}"
    if name in offer.common:
        return _value_faults(path, [("", value)], [offer.common[name]])
    family = offer.family_of(name)
    if family is None:
        return [_unknown(path, name, offer)]
    if family.chosen is None:
        return []
    having = [choice for choice in family.chosen if name in family.options[choice]]
    faults = []
    if not having:
        faults.append(Fault(path, _nobody_has(name, family, family.chosen, offer.recipe)))
    elif len(having) < len(family.chosen):
        lacking = ", ".join(choice for choice in family.chosen if choice not in having)
        remedy = f"move it to the space as `type: fixed` with `{_when(family, having)}`"
        faults.append(Fault(path, f"is no option of {lacking}: {remedy}"))
    return faults + _value_faults(path, [("", value)], [family.options[choice][name] for choice in having])


def _parameter_faults(name: str, offer: _Offer, space: Space) -> list[Fault]:
    path = f"space.{name}"
    if name in offer.common:
        return _range_faults(path, name, space, [offer.common[name]])
    family = offer.family_of(name)
    if family is None:
        return [_unknown(path, name, offer)]
    if family.chosen is None:
        return []
    reachable = _reachable(name, family, space, frozenset())
    lacking = [choice for choice in family.chosen if choice in reachable and name not in family.options[choice]]
    having = [choice for choice in family.chosen if name in family.options[choice]]
    faults = []
    if not having:
        faults.append(Fault(path, _nobody_has(name, family, family.chosen, offer.recipe)))
    elif lacking:
        message = f"{name} is no option of {', '.join(lacking)}: add `{_when(family, having)}`"
        faults.append(Fault(f"{path}.when", message))
    met = [choice for choice in having if choice in reachable] or having
    return faults + _range_faults(path, name, space, [family.options[choice][name] for choice in met])


def _reachable(name: str, family: _Family, space: Space, seen: frozenset[str]) -> set[Value]:
    """The choices of a family under which a parameter can be active, by its conditions and its parents'."""
    reachable: set[Value] = set(family.chosen or ())
    if name in seen or name not in space:
        return reachable
    parameter = space[name]
    for parent, values in (parameter.when or {}).items():
        reachable &= set(values) if parent == family.name else _reachable(parent, family, space, seen | {name})
    if isinstance(parameter, DerivedParameter):
        for parent in parameter.parents:
            reachable &= _reachable(parent, family, space, seen | {name})
    return reachable


def _nobody_has(name: str, family: _Family, chosen: Iterable[str], recipe: Recipe) -> str:
    if family.name == "optimizer" and recipe.because:
        return f"is no option of {', '.join(chosen)}{_because(recipe)}"
    return f"is no option of {', '.join(chosen)}; the {family.name} that has it: {', '.join(family.having(name))}"


def _when(family: _Family, having: Iterable[str]) -> str:
    return f"when: {{{family.name}: [{', '.join(having)}]}}"


def _range_faults(path: str, name: str, space: Space, options: list[Option]) -> list[Fault]:
    parameter = space[name]
    wrong = _kind_fault(path, parameter, options)
    if wrong is not None:
        return [wrong]
    if isinstance(parameter, CategoricalParameter | FixedParameter):
        return _value_faults(path, _named(parameter), options)
    if isinstance(parameter, DerivedParameter):
        reached = bounds(space, name)
        return [] if reached is None else _value_faults(path, [("", end) for end in reached], options)[:1]
    ends: list[tuple[str, Value]] = [(".low", parameter.low), (".high", parameter.high)]
    return _value_faults(path, [end for end in ends if end[1] is not None], options)


def _kind_fault(path: str, parameter: Parameter, options: list[Option]) -> Fault | None:
    """Return the fault of a parameter that is not of the type its option needs."""
    kinds = {option.kind: option for option in options}
    if "points" in kinds:
        return Fault(path, "is a list of points, which no strategy can search: fix it in the objective")
    if isinstance(parameter, CategoricalParameter | FixedParameter):
        return None
    if "choice" in kinds:
        return Fault(f"{path}.type", f"must be categorical, with choices among {', '.join(kinds['choice'].choices)}")
    if "bool" in kinds:
        return Fault(f"{path}.type", "must be categorical with the choices true and false, as it is a switch")
    if "int" in kinds and isinstance(parameter, FloatParameter | DerivedParameter):
        return Fault(f"{path}.type", "must be int, or categorical, as it is a whole number")
    return None


def _value_faults(path: str, values: Iterable[tuple[str, Setting]], options: list[Option]) -> list[Fault]:
    """Return for each value, given with its place below `path`, what the first option to refuse it says."""
    faults = []
    for where, value in values:
        problem = next((problem for option in options if (problem := option.check(value)) is not None), None)
        if problem is not None:
            faults.append(_placed(path + where, problem))
    return faults


def _placed(path: str, problem: str) -> Fault:
    """Make a fault; a problem of one point of a list begins with its place, such as `[2]`."""
    place, _, rest = problem.partition(" ")
    return Fault(path + place, rest) if place.startswith("[") else Fault(path, problem)
