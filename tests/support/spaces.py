"""Spaces for tests: shorthands, random small ones, and every point of one by trying all combinations."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import product
from typing import Any

from hypothesis import strategies as st
from pydantic import TypeAdapter

from search.definition.schema import AnyParameter
from search.space.axes import grid_axis
from search.space.constraints import Constraint
from search.space.nodes import Space, as_searched
from search.space.parameters import Parameter, Point, Value, is_number

_ADAPTER: TypeAdapter[Parameter] = TypeAdapter(AnyParameter)


def space(**parameters: dict[str, Any]) -> Space:
    """Return a space of parameters as posted."""
    return {name: parameter(raw) for name, raw in parameters.items()}


def parameter(raw: dict[str, Any]) -> Parameter:
    """Return one parameter as posted."""
    return _ADAPTER.validate_python(raw)


def choice(*choices: Value, when: dict[str, list[Value]] | None = None) -> dict[str, Any]:
    """Return a categorical parameter as posted."""
    return {"type": "categorical", "choices": list(choices), "when": when}


def number(low: float, high: float, **more: object) -> dict[str, Any]:
    """Return a float parameter as posted."""
    return {"type": "float", "low": low, "high": high, **more}


def whole(low: int, high: int, **more: object) -> dict[str, Any]:
    """Return an int parameter as posted."""
    return {"type": "int", "low": low, "high": high, **more}


def fixed(value: Value, **more: object) -> dict[str, Any]:
    """Return a fixed parameter as posted."""
    return {"type": "fixed", "value": value, **more}


def derived(of: str, by: str, rule: str = "linear", reference: float = 32, **more: object) -> dict[str, Any]:
    """Return a derived parameter as posted."""
    return {"type": "derived", "of": of, "by": by, "rule": rule, "reference": reference, **more}


def by_name(of: str, by: str, **factors: float) -> dict[str, Any]:
    """Return a parameter derived by the values of another, as posted."""
    return {"type": "derived", "of": of, "by": by, "rule": "factor", "factors": factors}


NESTED = space(
    a=choice("x", "y", when={"n": [1, 3]}),
    n=whole(0, 9),
    z=number(0, 1, levels=3, when={"a": ["y"], "c": [True]}),
    c=choice(True, 1, None),
)


@st.composite
def spaces(draw_value: Callable[[st.SearchStrategy[Any]], Any]) -> Space:
    """Draw small spaces whose parameters may depend on several earlier ones."""
    raw: dict[str, Any] = {}
    for index in range(draw_value(st.integers(1, 5))):
        when: dict[str, list[Value]] = {}
        for parent, given_parent in raw.items():
            if given_parent["type"] != "float" and draw_value(st.booleans()):
                values = list(values_of(parameter(given_parent)))
                when[parent] = draw_value(st.lists(st.sampled_from(values), min_size=1, unique_by=repr))
        kind = draw_value(st.sampled_from(["categorical", "int", "float", "fixed"]))
        size = draw_value(st.integers(1, 3))
        made = {
            "categorical": {"type": "categorical", "choices": ["a", True, 1][:size]},
            "int": whole(-1, -1 + 2 * (size - 1), step=2 if size > 1 else None),
            "float": number(0.1, 0.1 + size, levels=[0.1 + place for place in reversed(range(size))]),
            "fixed": fixed([0.1, "a", 2][size - 1]),
        }[kind]
        # Names in an order that is neither that of the parents nor alphabetical.
        raw[f"p{(index * 3) % 7}"] = {**made, "when": when or None}
    return space(**raw)


@st.composite
def constrained(draw_value: Callable[[st.SearchStrategy[Any]], Any]) -> tuple[Space, list[Constraint]]:
    """Draw small spaces with up to three constraints, which nothing may satisfy."""
    the_space = draw_value(spaces())
    names = [name for name, given in the_space.items() if all(map(is_number, values_of(given)))]
    limits = [None, -1.2, 0.0, 0.3, 1.1, 2.2, 3.0]
    constraints = []
    for _ in range(draw_value(st.integers(0, 3)) if names else 0):
        used = draw_value(st.lists(st.sampled_from(names), min_size=1, unique=True))
        low, high = draw_value(
            st.sampled_from([(a, b) for a in limits for b in limits if a is None or b is None or a <= b])
        )
        high = 1.1 if low is high is None else high
        terms = {name: float(draw_value(st.sampled_from([1, -1, 0.1, 2]))) for name in used}
        constraints.append(Constraint(terms=terms, at_least=low, at_most=high))
    return the_space, constraints


def values_of(given: Parameter) -> Iterator[Value]:
    """Return the points that a grid takes from a parameter."""
    axis = grid_axis(as_searched(given))
    assert axis is not None
    return (axis.at(index) for index in range(axis.size))


def obvious_points(the_space: Space) -> dict[str, Point]:
    """Make every combination, drop what is inactive, and keep the distinct ones, by their keys."""

    def holds(name: str, point: Point) -> bool:
        conditions = (the_space[name].when or {}).items()
        return all(
            holds(parent, point) and any(repr(point[parent]) == repr(value) for value in values)
            for parent, values in conditions
        )

    found = {}
    for values in product(*(list(values_of(each)) for each in the_space.values())):
        point = dict(zip(the_space, values, strict=True))
        kept = {name: value for name, value in point.items() if holds(name, point)}
        found[key(kept)] = kept
    return found


def key(point: Point) -> str:
    """Return a text that two points share only if they are the same."""
    return repr(sorted(point.items()))


def keeps(constraints: Sequence[Constraint], point: Point) -> bool:
    """Say whether a point satisfies all constraints, reckoned the plain way, in decimals."""
    for constraint in constraints:
        parts = [Decimal(repr(c)) * Decimal(repr(point[name])) for name, c in constraint.terms.items() if name in point]
        if constraint.at_most is not None and sum(parts) > Decimal(repr(constraint.at_most)):
            return False
        if constraint.at_least is not None and sum(parts) < Decimal(repr(constraint.at_least)):
            return False
    return True
