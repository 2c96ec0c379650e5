"""What is wrong with a space, with its constraints, and with a point of it, each fault by its path."""

import math
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from search.errors import Fault
from search.space.axes import lattice
from search.space.constraints import Constraint, exact, holds, total
from search.space.derived import bounds, derive
from search.space.nodes import Node, Space, as_searched, circular
from search.space.parameters import (
    WIDEST,
    CategoricalParameter,
    DerivedParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Point,
    Searched,
    Value,
    is_number,
    is_scalar,
)
from search.space.plan import WITNESS_TRIES, Plan, active, find_witness, only_value, plan

_NEAR = 1e-9  # relative; how far a derived value that is given may lie from what follows


def space_faults(space: Space, faulty: frozenset[str] = frozenset()) -> list[Fault]:
    """Check the conditions of a space and what is derived in it.

    Parameters named in `faulty` may be missing in the space or have null in their gaps.
    """
    faults = []
    for name, parameter in space.items():
        for parent, values in (parameter.when or {}).items():
            faults += _parent_faults(f"space.{name}.when.{parent}", name, parent, values, space, faulty)
        if isinstance(parameter, DerivedParameter) and name not in faulty:
            faults += _derived_faults(name, parameter, space, faulty)
    faults += _circle_faults(space, faulty)
    if space and not faulty and all(isinstance(p, FixedParameter | DerivedParameter) for p in space.values()):
        faults.append(Fault("space", "leaves nothing to search: give at least one parameter a range or choices"))
    return faults


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _unknown(path: str, name: str, parent: str, known: Iterable[str]) -> Fault:
    return Fault(path, f"there is no parameter {parent!r}; valid are {_names(set(known) - {name})}")


def _parent_faults(
    path: str, name: str, parent: str, values: tuple[Value, ...], space: Space, faulty: frozenset[str]
) -> list[Fault]:
    if parent not in space.keys() | faulty:
        return [_unknown(path, name, parent, space.keys() | faulty)]
    given = space.get(parent)
    if parent in faulty or given is None:
        return []
    if isinstance(given, FloatParameter | DerivedParameter):
        kind = "a float" if isinstance(given, FloatParameter) else "derived"
        return [Fault(path, f"a condition needs a categorical, int or fixed parent, and this one is {kind}")]
    axis = lattice(as_searched(given))
    if axis is None:  # pragma: no cover - categorical, fixed and int parameters always have a lattice
        return []
    return [
        Fault(f"{path}[{index}]", f"{value!r} is not a value of that parameter; {_possible(as_searched(given))}")
        for index, value in enumerate(values)
        if axis.place(value) is None
    ]


def _possible(parent: Searched) -> str:
    if isinstance(parent, CategoricalParameter):
        return "valid are " + ", ".join(repr(choice) for choice in parent.choices[:20])
    return f"valid are whole numbers from {parent.low} to {parent.high}" + (
        f" by {parent.step}" if parent.step is not None else ""
    )


def _circle_faults(space: Space, faulty: frozenset[str]) -> Iterator[Fault]:
    for name in circular({name: tuple(parameter.when or ()) for name, parameter in space.items()}):
        message = "depends on itself, directly or through others: conditions must not form a circle"
        yield Fault(f"space.{name}.when", message)
    derived = {
        name: parameter.parents
        for name, parameter in space.items()
        if isinstance(parameter, DerivedParameter) and name not in faulty
    }
    for name in circular(derived):
        yield Fault(f"space.{name}.of", "follows from itself, directly or through others: begin with what is searched")


def _derived_faults(name: str, parameter: DerivedParameter, space: Space, faulty: frozenset[str]) -> Iterator[Fault]:
    for field, parent in zip(("of", "by"), parameter.parents, strict=True):
        path, given = f"space.{name}.{field}", space.get(parent)
        if parent not in space.keys() | faulty:
            yield _unknown(path, name, parent, space.keys() | faulty)
        elif parent in faulty or given is None:
            continue
        elif field == "by" and parameter.rule == "factor":
            yield from _factor_faults(name, parameter, given)
        elif isinstance(given, DerivedParameter):
            continue
        elif bounds(space, parent) is None:
            yield Fault(path, f"must name a parameter whose values are all numbers, and {parent} has others")
    if {*parameter.parents} & faulty:
        return
    by = bounds(space, parameter.by)
    if parameter.rule == "sqrt" and by is not None and by[0] < 0:
        yield Fault(
            f"space.{name}.by", f"must not be negative where its root is taken, and {parameter.by} can be {by[0]:g}"
        )
    own = bounds(space, name)
    if own is not None and not (math.isfinite(own[0]) and max(map(abs, own)) <= WIDEST):
        yield Fault(f"space.{name}", f"can lie beyond {WIDEST:g}: narrow what it is derived from")


def _factor_faults(name: str, parameter: DerivedParameter, by: Parameter) -> Iterator[Fault]:
    """Check that there is a factor for each value of a parameter, and for nothing else."""
    searched = None if isinstance(by, DerivedParameter) else as_searched(by)
    values = searched.choices if isinstance(searched, CategoricalParameter) else ()
    if not values or not all(isinstance(value, str) for value in values):
        message = f"must name a parameter whose values are all strings, for which there are factors, and {parameter.by} has others"
        yield Fault(f"space.{name}.by", message)
        return
    factors = parameter.factors or {}
    lacking = [str(value) for value in values if value not in factors]
    if lacking:
        message = f"must have a number for each value of {parameter.by}, and lacks {', '.join(lacking)}"
        yield Fault(f"space.{name}.factors", message)
    valid = ", ".join(map(repr, values[:20]))
    for factor in sorted(factors.keys() - {*values}):
        yield Fault(f"space.{name}.factors.{factor}", f"is not a value of {parameter.by}; valid are {valid}")


def term_faults(space: Space, terms: Mapping[int, Iterable[str]], faulty: frozenset[str] = frozenset()) -> list[Fault]:
    """Refuse what no constraint can name: `terms` are the names in each, by its place in the study's list."""
    return [
        Fault(f"constraints[{index}].terms.{name}", message)
        for index, names in terms.items()
        for name in names
        if (message := _term_problem(name, space, faulty)) is not None
    ]


def _term_problem(name: str, space: Space, faulty: frozenset[str]) -> str | None:
    parameter = space.get(name)
    if isinstance(parameter, FloatParameter | IntParameter):
        return None
    if parameter is None:
        return None if name in faulty else f"there is no parameter {name!r}; valid are {_names(space)}"
    if isinstance(parameter, FixedParameter):
        return None if is_number(parameter.value) else f"must be a number, and its value is {parameter.value!r}"
    if isinstance(parameter, DerivedParameter):
        return "is derived, and not by a sum: constrain what it is derived from"
    return "is categorical: make it an int or a float with `choices`, which a grid takes as its points"


def constraint_faults(
    space: Space, constraints: Mapping[int, Constraint], faulty: frozenset[str] = frozenset()
) -> list[Fault]:
    """Refuse each constraint, given by its place in the study's list, that no values of its parameters satisfy.

    The ends of their ranges decide, for certain: that is exact for a single constraint, unless conditions on its
    parameters exclude each other or steps pass over what two limits leave. Terms that `term_faults` refuses are left to it.
    """
    faults: list[Fault] = []
    for index, constraint in constraints.items():
        unfit = constraint.terms.keys() & faulty
        if not unfit and not term_faults(space, {index: constraint.terms}, faulty):
            faults += _reach_faults(f"constraints[{index}]", constraint, space)
    return faults


def _reach_faults(path: str, constraint: Constraint, space: Space) -> Iterator[Fault]:
    parameters = {name: space[name] for name in constraint.terms}
    if all(isinstance(parameter, FixedParameter) for parameter in parameters.values()):
        yield Fault(f"{path}.terms", "names fixed values alone, so there is nothing to search within it: drop it")
        return
    ends = [sorted(exact(factor) * end for end in _ends(parameters[name])) for name, factor in constraint.terms.items()]
    least, most = sum(pair[0] for pair in ends), sum(pair[-1] for pair in ends)
    low, high = constraint.limits
    said = f"the sum lies between {float(least):g} and {float(most):g}"
    if high is not None and least > high:
        yield Fault(f"{path}.at_most", f"no point satisfies it: {said}, and must be at most {constraint.at_most:g}")
    elif low is not None and most < low:
        yield Fault(f"{path}.at_least", f"no point satisfies it: {said}, and must be at least {constraint.at_least:g}")
    elif low is not None and low == high and any(map(_continuous, parameters.values())):
        message = "leaves a continuous parameter no room beside at_most: drop the parameter that the others decide"
        yield Fault(f"{path}.at_least", message)


def _continuous(parameter: Parameter) -> bool:
    return isinstance(parameter, FloatParameter) and lattice(parameter) is None


def _ends(parameter: Parameter) -> list[Fraction]:
    """The least and the largest that a parameter counts, 0 where it is not active; of a step the last value reached."""
    searched = as_searched(parameter)
    axis = lattice(searched)
    ends = [searched.low, searched.high] if axis is None else [axis.at(0), axis.at(axis.size - 1)]  # type: ignore[union-attr]
    return [exact(end) for end in ends] + ([Fraction()] if parameter.when else [])  # type: ignore[arg-type]


def witness_faults(the_plan: Plan) -> list[Fault]:
    """Refuse constraints for which no point was found, though each alone could be satisfied."""
    if not the_plan.constraints or find_witness(the_plan) is not None:
        return []
    message = (
        f"no point that satisfies all of them was found in {WITNESS_TRIES:,} tries, each led towards them: loosen one, or "
        "drop a parameter that the others decide"
    )
    return [Fault("constraints", message)]


def validate_point(space: Space | Plan, params: Mapping[str, Value]) -> list[Fault]:
    """Check a whole point: every active parameter with a value it can take, nothing else, within the constraints.

    Paths are the names. What is fixed or derived must be there: see `complete_point`.
    """
    the_plan = plan(space)
    wanted = set(active(the_plan, params))
    nodes = {node.name: node for node in the_plan.order}
    derived = {name for name, _ in the_plan.derivations}
    faults = [Fault(name, "is required here") for name in sorted(wanted - params.keys())]
    for name, value in params.items():
        if name not in nodes and name not in derived:
            faults.append(Fault(name, f"there is no such parameter; valid are {_names({*nodes, *derived})}"))
        elif name not in wanted:
            faults.append(Fault(name, "its condition does not hold here: leave it out"))
        elif name in nodes and not _takes(nodes[name].parameter, value):
            faults.append(Fault(name, _refusal(nodes[name], value)))
    return faults or [*_derived_value_faults(the_plan, params), *_broken(the_plan, params)]


def complete_point(space: Space | Plan, params: Mapping[str, Value]) -> Point:
    """Return a point with the fixed and derived values that it left out, where they are active."""
    the_plan = plan(space)
    fixed = {node.name: only_value(node) for node in the_plan.order if not node.searched}
    point = dict(params)
    # A fixed value may itself be a parent, so what is active shows only as they come in.
    while missing := [name for name in active(the_plan, point) if name in fixed and name not in point]:
        point |= {name: fixed[name] for name in missing}
    return derive(the_plan.derivations, point) | point


def check_point(space: Space | Plan, params: Mapping[str, object]) -> tuple[Point, list[Fault]]:
    """Complete a point that a person gave and say what is wrong with it; paths are the names."""
    strange = [name for name, value in params.items() if not is_scalar(value)]
    if strange:
        return {}, [Fault(name, "must be a string, a finite number, true, false or null") for name in strange]
    the_plan = plan(space)
    point = complete_point(the_plan, params)  # type: ignore[arg-type]
    return point, validate_point(the_plan, point)


def _refusal(node: Node, value: Value) -> str:
    if not node.searched:
        return f"is fixed to {only_value(node)!r}: leave it out"
    return f"{value!r} is not a value it can take"


def _derived_value_faults(the_plan: Plan, params: Mapping[str, Value]) -> Iterator[Fault]:
    roots = {node.name: params[node.name] for node in the_plan.order if node.name in params}
    for name, value in derive(the_plan.derivations, roots).items():
        given = params[name]
        if not (is_number(given) and is_number(value) and math.isclose(given, value, rel_tol=_NEAR)):
            yield Fault(name, f"follows from the others as {value!r}: leave it out")


def _broken(the_plan: Plan, params: Mapping[str, Value]) -> Iterator[Fault]:
    for index, constraint in enumerate(the_plan.constraints):
        if holds(constraint, params):
            continue
        name = next((name for name in constraint.terms if name in params), next(iter(constraint.terms)))
        wanted = [("at most", constraint.at_most), ("at least", constraint.at_least)]
        limits = " and ".join(f"{word} {limit:g}" for word, limit in wanted if limit is not None)
        yield Fault(
            name, f"breaks constraints[{index}]: the sum is {total(constraint, params):g}, and must be {limits}"
        )


def _takes(parameter: Searched, value: Value) -> bool:
    axis = lattice(parameter)
    if axis is not None:
        return axis.place(value) is not None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # The bounds of a parameter are finite, so NaN and infinity fail the comparison.
    return number and not isinstance(parameter, CategoricalParameter) and parameter.low <= value <= parameter.high  # type: ignore[operator]
