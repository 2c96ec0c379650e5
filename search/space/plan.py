"""A space worked out once: its parameters in order, what follows from them, its constraints; and random points of it.

Functions take the mapping of a definition (name -> parameter) or its `Plan`, which holds what is worth working out once.
Points leave inactive parameters out; they hold every active one, fixed and derived values too.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from search.space.constraints import Constraint, holds
from search.space.derived import Derivation, derive, make_derivations
from search.space.guided import led, pulled
from search.space.nodes import Node, Space, make_nodes
from search.space.parameters import CategoricalParameter, Point, Value, identity
from search.space.sampling import WITNESS_SALT, Draws

# Independent draws until the constraints hold, then draws led into them; a study is refused unless some such draw succeeds.
_FREE_TRIES = 128
_LED_TRIES = 64
WITNESS_TRIES = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """A space in order.

    `nodes` are the parameters that are searched, parents first; `order` has the fixed ones among them. `derivations`
    follow from those, each from what stands before it.
    """

    nodes: tuple[Node, ...]
    order: tuple[Node, ...]
    derivations: tuple[Derivation, ...]
    constraints: tuple[Constraint, ...]


def plan(space: Space | Plan, constraints: Sequence[Constraint] = ()) -> Plan:
    """Work out order and conditions. Raise ValueError for an unknown parent or a circle; a plan is returned as it is."""
    if isinstance(space, Plan):
        return space
    order = make_nodes(space)
    searched = tuple(node for node in order if node.searched)
    return Plan(nodes=searched, order=order, derivations=make_derivations(space), constraints=tuple(constraints))


def fill(space: Space | Plan, choose: Callable[[Node], Value]) -> Point:
    """Walk the space in order and ask `choose` for each active searched parameter's value; the others follow.

    Constraints are not looked at: see `satisfies`, and `mend` for points that break them.
    """
    the_plan = plan(space)
    off = 0
    point: Point = {}
    for node in the_plan.order:
        if off & node.bit:
            off |= node.children
            continue
        value = point[node.name] = choose(node) if node.searched else only_value(node)
        if node.children:
            off |= node.switched_off(value)
    return point | derive(the_plan.derivations, point) if the_plan.derivations else point


def only_value(node: Node) -> Value:
    """Return the value of a fixed parameter. Raise TypeError for one that is searched."""
    if node.searched or not isinstance(node.parameter, CategoricalParameter):
        raise TypeError(f"{node.name} is searched")
    return node.parameter.choices[0]


def satisfies(the_plan: Plan, params: Mapping[str, Value]) -> bool:
    """Say whether a point keeps every constraint."""
    return all(holds(constraint, params) for constraint in the_plan.constraints)


def draw(space: Space | Plan, rng: Draws) -> Point:
    """Draw a point: each active parameter uniform on its scale, independently, given that the constraints hold.

    Points are drawn until one satisfies them; where they leave too little room for that, values are led into them, and
    at last the first point found so long ago stands in, with all that is free drawn anew.
    """
    the_plan = plan(space)
    point = fill(the_plan, lambda node: node.draw(rng))
    if satisfies(the_plan, point):
        return point
    for _ in range(_FREE_TRIES - 1):
        point = fill(the_plan, lambda node: node.draw(rng))
        if satisfies(the_plan, point):
            return point
    for _ in range(_LED_TRIES):
        found = _led(the_plan, fill(the_plan, lambda node: node.draw(rng)), rng)
        if found is not None:
            return found
    return _beside_witness(the_plan, rng)


def mend(the_plan: Plan, params: Mapping[str, Value], rng: Draws) -> Point:
    """Return a whole point that satisfies the constraints: this one, one near it, one led there from it, or a random one."""
    if satisfies(the_plan, params):
        return dict(params)
    near = pulled(the_plan.nodes, the_plan.constraints, params)
    if near is not None:
        return near | derive(the_plan.derivations, near)
    tries = (_led(the_plan, params, rng) for _ in range(_LED_TRIES))
    return next((found for found in tries if found is not None), None) or draw(the_plan, rng)


def find_witness(the_plan: Plan) -> Point | None:
    """Look for a point that satisfies the constraints, always in the same way; None if none was found."""
    for index in range(WITNESS_TRIES):
        rng = Draws(0, index, salt=WITNESS_SALT)
        point = fill(the_plan, lambda node, rng=rng: node.draw(rng))  # type: ignore[misc]
        found = point if satisfies(the_plan, point) else _led(the_plan, point, rng)
        if found is not None:
            return found
    return None


def _led(the_plan: Plan, params: Mapping[str, Value], rng: Draws) -> Point | None:
    point = led(the_plan.nodes, the_plan.constraints, params, rng)
    return None if point is None else point | derive(the_plan.derivations, point)


def _beside_witness(the_plan: Plan, rng: Draws) -> Point:
    witness = find_witness(the_plan)
    if witness is None:
        raise ValueError("no point was found that satisfies the constraints")
    bound = {name for constraint in the_plan.constraints for name in constraint.terms}
    kept = bound | {node.name for node in the_plan.nodes if node.children}
    return fill(the_plan, lambda node: witness[node.name] if node.name in kept else node.draw(rng))


def active(space: Space | Plan, params: Mapping[str, Value]) -> tuple[str, ...]:
    """Name the parameters whose conditions hold under `params`, in order; a missing parent meets no condition."""
    the_plan = plan(space)
    off = 0
    names = []
    for node in the_plan.order:
        if not off & node.bit:
            names.append(node.name)
        if off & node.bit or node.name not in params:
            off |= node.children
        else:
            off |= node.switched_off(params[node.name])
    there = {name: params[name] for name in names if name in params}
    return (*names, *derive(the_plan.derivations, there))


def draw_point(space: Space | Plan, *, seed: int, index: int, attempt: int = 0) -> Point:
    """Draw the point of one index, which depends on nothing else; further attempts (below 1000) give further points."""
    return draw(space, Draws(seed, index, salt=attempt))


def dedupe_key(params: Mapping[str, Value]) -> str:
    """Return a short text that two points share only if they are the same point; 1 and 1.0 are, 1 and true are not."""
    marked = [[name, *identity(value)] for name, value in sorted(params.items())]
    plain = [[name, kind, float(value) if kind == "number" else value] for name, kind, value in marked]  # type: ignore[arg-type]
    return hashlib.blake2b(json.dumps(plain).encode(), digest_size=16).hexdigest()
