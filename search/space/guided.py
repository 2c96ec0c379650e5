"""Points led into constraints: where independent draws rarely satisfy them, each value is drawn from what the others leave.

For one constraint over continuous parameters what the others leave is exact, so that a draw never fails. For several it
may; then what is continuous is pulled towards each broken constraint in turn (over-relaxed projections; S. Agmon, "The
relaxation method for linear inequalities", 1954). On lattices that may fail, too, and another draw is to be tried. Points
found so are spread over all that is allowed, but not evenly.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from search.space.axes import draw_between, lattice
from search.space.constraints import Constraint, holds
from search.space.nodes import Node
from search.space.parameters import CategoricalParameter, FloatParameter, IntParameter, Point, Value
from search.space.sampling import Draws

_Range: TypeAlias = FloatParameter | IntParameter
_SWEEPS = 30
_PROGRESS = 0.98  # a sweep that leaves more than this share of what was missed is the last
_OVER = 1.5  # how far a value is pulled, of what was missed
_PAD = 1e-9  # by which floats may miss a lattice's point; `holds` has the last word


def led(
    nodes: Sequence[Node], constraints: Sequence[Constraint], params: Mapping[str, Value], draws: Draws
) -> Point | None:
    """Draw the constrained values of a point anew, in random order; None if they found no place.

    Which parameters are active stays as it is, and so do those that others depend on.
    """
    ranges = _free(nodes, constraints, params)
    point = dict(params)
    spans = [_span(constraint, ranges, point) for constraint in constraints]
    for name in _shuffled(sorted(ranges), draws):
        parameter = ranges[name]
        touched = [
            (span, constraint.terms[name])
            for span, constraint in zip(spans, constraints, strict=True)
            if name in constraint.terms
        ]
        for span, factor in touched:
            span.take(sorted((factor * parameter.low, factor * parameter.high)), -1)
        low, high = _room(parameter, [span.room(factor) for span, factor in touched])
        with suppress(ValueError):  # no room: the value stays where it was
            point[name] = draw_between(parameter, low, high, draws)
        for span, factor in touched:
            span.take([factor * point[name]] * 2, 1)  # type: ignore[operator]
    return point if _kept(constraints, point) else pulled(nodes, constraints, point)


def pulled(nodes: Sequence[Node], constraints: Sequence[Constraint], params: Mapping[str, Value]) -> Point | None:
    """Move the continuous values of a point, no farther than it takes, into the constraints; None if that did not do."""
    ranges = _free(nodes, constraints, params)
    point = dict(params)
    _pull({name: each for name, each in ranges.items() if lattice(each) is None}, constraints, point)
    return point if _kept(constraints, point) else None


def _free(
    nodes: Sequence[Node], constraints: Sequence[Constraint], params: Mapping[str, Value]
) -> dict[str, FloatParameter | IntParameter]:
    """Return the constrained parameters of a point on which no other depends."""
    names = {name for constraint in constraints for name in constraint.terms}
    free = [node for node in nodes if node.name in params and node.name in names and not node.children]
    return {node.name: node.parameter for node in free if not isinstance(node.parameter, CategoricalParameter)}


def _kept(constraints: Sequence[Constraint], point: Mapping[str, Value]) -> bool:
    return all(holds(constraint, point) for constraint in constraints)


def _pull(ranges: Mapping[str, _Range], constraints: Sequence[Constraint], point: Point) -> None:
    """Move the values of these parameters into one broken constraint after another, while that leads anywhere."""
    before = math.inf
    for _ in range(_SWEEPS):
        missed = sum(_pull_into(constraint, ranges, point) for constraint in constraints)
        if missed == 0 or missed > _PROGRESS * before:
            return
        before = missed


def _pull_into(constraint: Constraint, ranges: Mapping[str, _Range], point: Point) -> float:
    """Move values, in proportion to their ranges, past the limit that they break; return by how much they broke it."""
    sums: float = sum(factor * point[name] for name, factor in constraint.terms.items() if name in point)  # type: ignore[operator, misc]
    low, high = _limits(constraint)
    over = max(sums - high, 0.0) + min(sums - low, 0.0)
    if over == 0:
        return 0.0
    steps = {
        name: constraint.terms[name] * (each.high - each.low) ** 2
        for name, each in ranges.items()
        if name in constraint.terms
    }
    size = sum(constraint.terms[name] * step for name, step in steps.items())
    beyond = min(_OVER * abs(over), abs(over) + (high - low) / 2)
    for name, step in steps.items():
        moved = point[name] - math.copysign(beyond, over) * step / size  # type: ignore[operator]
        point[name] = min(max(moved, ranges[name].low), ranges[name].high)
    return abs(over)


def _shuffled(names: list[str], draws: Draws) -> list[str]:
    for last in range(len(names) - 1, 0, -1):
        other = draws.below(last + 1)
        names[last], names[other] = names[other], names[last]
    return names


@dataclass(slots=True)
class _Span:
    """Between which sums a constraint can still end, and the limits it sets."""

    least: float
    most: float
    low: float
    high: float

    def take(self, ends: Sequence[float], sign: int) -> None:
        self.least += sign * ends[0]
        self.most += sign * ends[1]

    def room(self, factor: float) -> tuple[float, float]:
        """Return which values of one more parameter let the rest satisfy the constraint."""
        ends = (self.low - self.most) / factor, (self.high - self.least) / factor
        return ends if factor > 0 else ends[::-1]


def _span(constraint: Constraint, ranges: Mapping[str, _Range], point: Mapping[str, Value]) -> _Span:
    low, high = _limits(constraint)
    span = _Span(0.0, 0.0, low, high)
    for name, factor in constraint.terms.items():
        if name in ranges:
            span.take(sorted((factor * ranges[name].low, factor * ranges[name].high)), 1)
        elif name in point:
            span.take([factor * point[name]] * 2, 1)  # type: ignore[operator]
    return span


def _limits(constraint: Constraint) -> tuple[float, float]:
    low, high = constraint.at_least, constraint.at_most
    return -math.inf if low is None else low, math.inf if high is None else high


def _room(parameter: _Range, rooms: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return what all constraints leave of a range, with some more around it on a lattice."""
    low = max([parameter.low, *(room[0] for room in rooms)])
    high = min([parameter.high, *(room[1] for room in rooms)])
    pad = _PAD * max(1.0, abs(low), abs(high)) if lattice(parameter) is not None else 0.0
    return low - pad, high + pad
