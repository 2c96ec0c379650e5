"""Parameters that follow from others: in which order, with which values, and between which bounds."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from search.space.nodes import Space, ordered
from search.space.parameters import (
    CategoricalParameter,
    DerivedParameter,
    FixedParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Value,
    identity,
    is_number,
)

Derivation: TypeAlias = tuple[str, DerivedParameter]


def make_derivations(space: Space) -> tuple[Derivation, ...]:
    """Put the derived parameters in order. Raise ValueError for an unknown parent or a circle."""
    derived = {name: parameter for name, parameter in space.items() if isinstance(parameter, DerivedParameter)}
    for parameter in derived.values():
        if not {*parameter.parents, *(parameter.when or ())} <= space.keys():
            raise ValueError("a derived parameter names an unknown one")
    names = ordered({name: parameter.parents for name, parameter in derived.items()})
    if len(names) < len(derived):
        raise ValueError("the derived parameters form a circle")
    return tuple((name, derived[name]) for name in names)


def derive(derivations: Sequence[Derivation], point: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values that follow from a point, those of a derived parameter that is not active left out."""
    known = dict(point)
    found: dict[str, Value] = {}
    for name, parameter in derivations:
        value = _value(parameter, known)
        if value is not None:
            known[name] = found[name] = value
    return found


def _value(parameter: DerivedParameter, point: Mapping[str, Value]) -> float | None:
    conditions = (parameter.when or {}).items()
    if not all(
        parent in point and identity(point[parent]) in set(map(identity, values)) for parent, values in conditions
    ):
        return None
    of, factor = point.get(parameter.of), _factor(parameter, point.get(parameter.by))
    return float(of * factor) if is_number(of) and factor is not None else None


def _factor(parameter: DerivedParameter, by: Value) -> float | None:
    """Return what `of` is multiplied by; None where `by` has no such value. It must not be negative where its root is taken."""
    if parameter.rule == "factor":
        return (parameter.factors or {}).get(by) if isinstance(by, str) else None
    if parameter.reference is None or not is_number(by):
        return None
    ratio = by / parameter.reference
    return math.sqrt(ratio) if parameter.rule == "sqrt" else ratio


def bounds(space: Space, name: str, *, seen: frozenset[str] = frozenset()) -> tuple[float, float] | None:
    """Return the least and the largest value of a parameter, constraints aside.

    None if it is no number, if it is on a circle, or if a fault left null in its gaps.

    A product of two ranges may overflow to infinity. A negative number has no root, and counts as 0.
    """
    parameter = space.get(name)
    if parameter is None or name in seen:
        return None
    if not isinstance(parameter, DerivedParameter):
        return _own_bounds(parameter)
    of = bounds(space, parameter.of, seen=seen | {name})
    factors = [_factor(parameter, by) for by in _ends(space, parameter, seen | {name})]
    if of is None or not factors or None in factors:
        return None
    corners = [float(end * factor) for end in of for factor in factors if factor is not None]
    return min(corners), max(corners)


def _ends(space: Space, parameter: DerivedParameter, seen: frozenset[str]) -> Sequence[Value]:
    """Return values of `by` with the least and the largest factor among them; none if these cannot be told."""
    if parameter.rule == "factor":
        return tuple(parameter.factors or ())
    by = bounds(space, parameter.by, seen=seen)
    if by is None or not parameter.rule:
        return ()
    return tuple(max(end, 0.0) for end in by) if parameter.rule == "sqrt" else by


def _own_bounds(parameter: Parameter) -> tuple[float, float] | None:
    values: tuple[Value, ...] = ()
    if isinstance(parameter, FloatParameter | IntParameter):
        values = parameter.low, parameter.high
    elif isinstance(parameter, CategoricalParameter):
        values = parameter.choices or ()
    elif isinstance(parameter, FixedParameter):
        values = (parameter.value,)
    numbers = [value for value in values if is_number(value)]
    if not numbers or len(numbers) < len(values):
        return None
    return min(numbers), max(numbers)
