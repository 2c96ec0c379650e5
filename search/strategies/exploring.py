"""How a member of a population explores: a point near another one's, each number moved by a factor on its scale."""

from collections.abc import Callable, Container, Mapping
from typing import TypeAlias

from search.records import Params
from search.space.axes import lattice
from search.space.nodes import Node
from search.space.parameters import CategoricalParameter, FloatParameter, IntParameter, Point, Value
from search.space.plan import Plan, fill, mend
from search.space.sampling import Draws

Measure: TypeAlias = tuple[Callable[[float], float], Callable[[float], float]]

# scale -> (onto what the factor acts on, back): of a momentum that is its distance from 1, of a share its odds.
_MEASURES: Mapping[str, Measure] = {
    "linear": (lambda x: x, lambda y: y),
    "log": (lambda x: x, lambda y: y),
    "reverse_log": (lambda x: 1 - x, lambda y: 1 - y),
    "logit": (lambda x: x / (1 - x), lambda y: y / (1 + y)),
}


def explore(
    the_plan: Plan, params: Params, draws: Draws, *, keep: Container[str], factor: float, resample: float
) -> Point:
    """Return a point near `params` that the space has: those in `keep` stay, what was not active before is drawn.

    Each other parameter is drawn anew with the probability `resample`; else a number is multiplied or divided by
    `factor`, and a choice stays. Where constraints would not let the kept ones stay, the point is `params` again.
    """

    def choose(node: Node) -> Value:
        if node.name not in params:
            return node.draw(draws)
        value: Value = params[node.name]
        if node.name in keep:
            return value
        if draws.uniform() < resample:
            return node.draw(draws)
        if isinstance(node.parameter, CategoricalParameter):
            return value
        return moved(node.parameter, value, factor if draws.uniform() < 0.5 else 1 / factor)  # type: ignore[arg-type]

    point = mend(the_plan, fill(the_plan, choose), draws)
    kept = all(point.get(name) == params[name] for name in params if name in keep)
    return point if kept else dict(params)


def moved(parameter: FloatParameter | IntParameter, value: float, factor: float) -> Value:
    """Return a number's value times a factor, on its scale and within its range; with steps, at least one further.

    A factor does not move zero: there a share of the range is added.
    """
    onto, back = _MEASURES[parameter.scale]
    there = back(onto(value) * factor) if onto(value) else value + (factor - 1) * (parameter.high - parameter.low)
    clipped = min(max(there, parameter.low), parameter.high)
    axis = lattice(parameter)
    if axis is None:
        return float(clipped)
    place, step = axis.place(value) or 0, parameter.step or 1
    nearest = round((clipped - parameter.low) / step)
    if nearest == place:
        nearest += 1 if there > value else -1
    return axis.at(min(max(nearest, 0), axis.size - 1))
