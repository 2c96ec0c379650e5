"""Single points of a space: the value nearest to one that lies outside, the middle of a range, points carried over."""

from collections.abc import Callable
from typing import TypeAlias

from search.space.axes import lattice
from search.space.derived import derive
from search.space.guided import pulled
from search.space.nodes import Node, Space
from search.space.parameters import CategoricalParameter, Point, Searched, Value, is_number
from search.space.plan import Plan, fill, plan, satisfies
from search.space.scales import between

# Given a parameter and its name: a value it can take and in a word where that comes from.
Chooser: TypeAlias = Callable[[str, Searched], tuple[Value, str]]


def nearest(parameter: Searched, value: Value) -> tuple[Value] | None:
    """Return (the value the parameter can take that is nearest,), or None where there is none: another kind of value.

    A tuple, since null is a value like others.
    """
    if isinstance(parameter, CategoricalParameter):
        axis = lattice(parameter)
        place = axis.place(value) if axis is not None else None
        return None if axis is None or place is None else (axis.at(place),)
    if not isinstance(value, int | float) or not is_number(value):
        return None
    number = min(max(float(value), parameter.low), parameter.high)
    if parameter.type == "int" or parameter.step is not None:
        return (_on_lattice(parameter, number),)
    return (number,)


def _on_lattice(parameter: Searched, number: float) -> Value:
    axis = lattice(parameter)
    if axis is None or isinstance(parameter, CategoricalParameter):  # pragma: no cover - only called with a lattice
        raise TypeError("the parameter is continuous")
    place = round((number - parameter.low) / (parameter.step or 1))
    return axis.at(min(max(place, 0), axis.size - 1))


def middle(parameter: Searched) -> Value:
    """Return the middle of a range on its scale; of choices, which have no order, the first."""
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices[0]
    if parameter.low == parameter.high:
        return parameter.low
    found = nearest(parameter, between(parameter.scale, parameter.low, parameter.high, 0.5))
    if found is None:  # pragma: no cover - the middle is a number
        raise TypeError("the middle of a range is a number")
    return found[0]


def choose_point(space: Space | Plan, choose: Chooser) -> tuple[Point, dict[str, str]]:
    """Make a point of chosen values; return it, and of what is searched where each value comes from.

    Fixed and derived values follow; constraints are not looked at: see `into_constraints`.
    """
    sources: dict[str, str] = {}

    def value(node: Node) -> Value:
        chosen, sources[node.name] = choose(node.name, node.parameter)
        return chosen

    return fill(plan(space), value), sources


def into_constraints(the_plan: Plan, point: Point) -> Point | None:
    """Return the point, moved no farther than the constraints take; None where that does not lead into them."""
    if satisfies(the_plan, point):
        return point
    near = pulled(the_plan.nodes, the_plan.constraints, point)
    return None if near is None else near | derive(the_plan.derivations, near)
