"""A space of parameters with conditions: its order, its active part, random draws, and its points by number.

Functions take the mapping of a definition (name -> parameter) or its `Plan`, which holds what is worth working out once.
Nothing depends on the order of the mapping's keys, since databases do not keep it: parents come first, a child as soon as
its last parent is placed, and else names in alphabetical order.

A parameter is active where every condition of its `when` holds; a condition on an inactive parent does not hold. Points
leave inactive parameters out, so a grid's points are distinct. They are counted without being made: walking the
parameters in order, all that matters of the choices so far is which later parameters they have switched off, a bit mask.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from search.errors import Fault
from search.space.parameters import (
    Axis,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Point,
    Value,
    drawer,
    grid_axis,
    identity,
    lattice,
)
from search.space.sampling import Draws

Space: TypeAlias = Mapping[str, Parameter]

GRID_LIMIT = 1_000_000
_MOST_STATES = 4096


@dataclass(frozen=True, slots=True)
class Node:
    """A parameter in its place: `bit` is its own in the mask of switched-off ones, `children` the bits it decides on."""

    name: str
    parameter: Parameter
    bit: int
    children: int
    satisfied: Mapping[tuple[str, Value], int]  # value -> bits of the children whose condition it meets
    draw: Callable[[Draws], Value]

    def switched_off(self, value: Value) -> int:
        """Return the bits of the children that `value` rules out."""
        return self.children & ~self.satisfied.get(identity(value), 0)


@dataclass(frozen=True, slots=True)
class Plan:
    """A space in order; iterates over its nodes, parents first."""

    nodes: tuple[Node, ...]


def space_faults(space: Space, faulty: frozenset[str] = frozenset()) -> list[Fault]:
    """Check the conditions of a space; parameters named in `faulty` may be missing in it or have null in their gaps."""
    faults = []
    names = {*space, *faulty}
    for name, parameter in space.items():
        for parent, values in (parameter.when or {}).items():
            path = f"space.{name}.when.{parent}"
            if parent not in names:
                faults.append(Fault(path, f"there is no parameter {parent!r}; valid are {_names(names - {name})}"))
            elif parent not in faulty:
                faults += _condition_faults(path, space[parent], values)
    faults += [
        Fault(f"space.{name}.when", "depends on itself, directly or through others: conditions must not form a circle")
        for name in _circular(space)
    ]
    return faults


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _condition_faults(path: str, parent: Parameter, values: tuple[Value, ...]) -> list[Fault]:
    if isinstance(parent, FloatParameter):
        return [Fault(path, "a condition needs a categorical or int parent, and this one is a float")]
    axis = lattice(parent)
    if axis is None:  # pragma: no cover - categorical and int parameters always have a lattice
        return []
    return [
        Fault(f"{path}[{index}]", f"{value!r} is not a value of that parameter; {_possible(parent)}")
        for index, value in enumerate(values)
        if axis.place(value) is None
    ]


def _possible(parent: CategoricalParameter | IntParameter) -> str:
    if isinstance(parent, CategoricalParameter):
        return "valid are " + ", ".join(repr(choice) for choice in parent.choices[:20])
    return f"valid are whole numbers from {parent.low} to {parent.high}" + (
        f" by {parent.step}" if parent.step is not None else ""
    )


def _parents(space: Space, name: str) -> list[str]:
    return [parent for parent in (space[name].when or {}) if parent in space]


def _circular(space: Space) -> list[str]:
    placed = set(_order(space))
    left = {name for name in space if name not in placed}
    # Of what could not be placed, keep what is on a circle: drop those that nothing left depends on.
    while ends := {name for name in left if not any(name in _parents(space, other) for other in left)}:
        left -= ends
    return sorted(left)


def _order(space: Space) -> list[str]:
    """Parents first, children right after their last parent, ties by name; what hangs on a circle is left out."""
    waiting = {name: set(_parents(space, name)) for name in sorted(space)}
    children: dict[str, list[str]] = {name: [] for name in space}
    for name, parents in waiting.items():
        for parent in parents:
            children[parent].append(name)
    placed: list[str] = []
    stack = [name for name in reversed(waiting) if not waiting[name]]
    while stack:
        name = stack.pop()
        placed.append(name)
        ready = []
        for child in children[name]:
            waiting[child].discard(name)
            if not waiting[child]:
                ready.append(child)
        stack += reversed(ready)
    return placed


def plan(space: Space | Plan) -> Plan:
    """Work out the order and conditions. Raise ValueError for an unknown parent or a circle."""
    if isinstance(space, Plan):
        return space
    if any(parent not in space for parameter in space.values() for parent in parameter.when or {}):
        raise ValueError("a condition names an unknown parameter")
    names = _order(space)
    if len(names) < len(space):
        raise ValueError("the conditions form a circle")
    return Plan(tuple(_node(space, names, name) for name in names))


def _node(space: Space, names: list[str], name: str) -> Node:
    satisfied: dict[tuple[str, Value], int] = {}
    children = 0
    for position, child in enumerate(names):
        for value in (space[child].when or {}).get(name, ()):
            satisfied[identity(value)] = satisfied.get(identity(value), 0) | 1 << position
            children |= 1 << position
    parameter = space[name]
    return Node(
        name=name,
        parameter=parameter,
        bit=1 << names.index(name),
        children=children,
        satisfied=satisfied,
        draw=drawer(parameter),
    )


def fill(space: Space | Plan, choose: Callable[[Node], Value]) -> Point:
    """Walk the space in order and ask `choose` for each active parameter's value."""
    off = 0
    point: Point = {}
    for node in plan(space).nodes:
        if off & node.bit:
            off |= node.children
            continue
        value = point[node.name] = choose(node)
        if node.children:
            off |= node.switched_off(value)
    return point


def draw(space: Space | Plan, rng: Draws) -> Point:
    """Draw a point: each active parameter uniform on its scale, independently."""
    return fill(space, lambda node: node.draw(rng))


def active(space: Space | Plan, params: Mapping[str, Value]) -> tuple[str, ...]:
    """Name the parameters whose conditions hold under `params`, in order; a missing parent meets no condition."""
    off = 0
    names = []
    for node in plan(space).nodes:
        if not off & node.bit:
            names.append(node.name)
        if off & node.bit or node.name not in params:
            off |= node.children
        else:
            off |= node.switched_off(params[node.name])
    return tuple(names)


def validate_point(space: Space | Plan, params: Mapping[str, Value]) -> list[Fault]:
    """Check a whole point: every active parameter with a value it can take, and nothing else. Paths are the names."""
    the_plan = plan(space)
    wanted = set(active(the_plan, params))
    nodes = {node.name: node for node in the_plan.nodes}
    faults = [Fault(name, "is required here") for name in sorted(wanted - params.keys())]
    for name, value in params.items():
        if name not in nodes:
            faults.append(Fault(name, f"there is no such parameter; valid are {_names(nodes)}"))
        elif name not in wanted:
            faults.append(Fault(name, "its condition does not hold here: leave it out"))
        elif not _takes(nodes[name].parameter, value):
            faults.append(Fault(name, f"{value!r} is not a value it can take"))
    return faults


def _takes(parameter: Parameter, value: Value) -> bool:
    axis = lattice(parameter)
    if axis is not None:
        return axis.place(value) is not None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # The bounds of a parameter are finite, so NaN and infinity fail the comparison.
    return number and not isinstance(parameter, CategoricalParameter) and parameter.low <= value <= parameter.high  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class _Choice:
    """The points of one node, grouped by what they switch off: (bits off, how many), and the places of each group."""

    node: Node
    axis: Axis
    groups: tuple[tuple[int, int], ...]
    places: tuple[tuple[int, ...], ...]  # for the last group: the places to skip
    rest: bool  # whether the last group is all places not named


def _choice(node: Node, axis: Axis) -> _Choice:
    named: dict[int, list[int]] = {}
    for (_, value), bits in node.satisfied.items():
        place = axis.place(value)
        if place is not None:
            named.setdefault(node.children & ~bits, []).append(place)
    groups = [(off, len(places)) for off, places in named.items()]
    places = [tuple(sorted(found)) for found in named.values()]
    mentioned = tuple(sorted(place for found in named.values() for place in found))
    rest = len(mentioned) < axis.size
    if rest:
        groups.append((node.children, axis.size - len(mentioned)))
        places.append(mentioned)
    return _Choice(node=node, axis=axis, groups=tuple(groups), places=tuple(places), rest=rest)


@dataclass(slots=True)
class Points:
    """The points of a space by number, none of them made before it is asked for; `make_points` builds it."""

    choices: tuple[_Choice, ...]
    _completions: dict[tuple[int, int], int] = field(default_factory=dict)

    def count(self, limit: int = GRID_LIMIT) -> int:
        """Count exactly, however many; only past `limit` and with much entangled conditions return a lower bound."""
        ways = {0: 1}
        for choice in self.choices:
            following: dict[int, int] = {}
            for off, number in ways.items():
                for more, times in self._branches(choice, off):
                    key = (off | more) & ~choice.node.bit
                    following[key] = following.get(key, 0) + number * times
            ways = following
            if len(ways) > _MOST_STATES and sum(ways.values()) > limit:
                break
        return sum(ways.values())

    def point(self, index: int) -> Point:
        """Return the point of a number below `count`, by mixed radix. Raise IndexError beyond."""
        if not 0 <= index < self._complete(0, 0):
            raise IndexError(f"there is no point {index}")
        off = 0
        point: Point = {}
        for position, choice in enumerate(self.choices):
            if off & choice.node.bit:
                off = (off | choice.node.children) & ~choice.node.bit
                continue
            group = 0
            for more, times in choice.groups:
                each = self._complete(position + 1, off | more)
                if index < times * each:
                    break
                index -= times * each
                group += 1
            place, index = divmod(index, each)
            point[choice.node.name] = choice.axis.at(_nth(choice, group, place))
            off |= more
        return point

    @staticmethod
    def _branches(choice: _Choice, off: int) -> Iterable[tuple[int, int]]:
        return ((choice.node.children, 1),) if off & choice.node.bit else choice.groups

    def _complete(self, position: int, off: int) -> int:
        """In how many ways the parameters from `position` on can be filled, given those switched off."""
        if position == len(self.choices):
            return 1
        key = position, off
        if key not in self._completions:
            choice = self.choices[position]
            self._completions[key] = sum(
                times * self._complete(position + 1, (off | more) & ~choice.node.bit)
                for more, times in self._branches(choice, off)
            )
        return self._completions[key]


def _nth(choice: _Choice, group: int, index: int) -> int:
    places = choice.places[group]
    if not (choice.rest and group == len(choice.groups) - 1):
        return places[index]
    for skipped in places:
        index += skipped <= index
    return index


def make_points(space: Space | Plan, axis_of: Callable[[Parameter], Axis | None]) -> Points:
    """Number the points of a space whose parameters have the axes given. Raise ValueError if one has none."""
    choices = []
    for node in plan(space).nodes:
        axis = axis_of(node.parameter)
        if axis is None:
            raise ValueError(f"{node.name} is continuous: give it levels or a step")
        choices.append(_choice(node, axis))
    return Points(tuple(choices))


def grid(space: Space | Plan) -> Points:
    """Number the points of the grid over a space: the levels of each parameter, or all its values."""
    return make_points(space, grid_axis)


def discrete(space: Space | Plan) -> Points:
    """Number all the points of a wholly discrete space."""
    return make_points(space, lattice)


def is_discrete(space: Space | Plan) -> bool:
    """Say whether every parameter has countably many values: categorical, int, or float with a step."""
    return all(lattice(node.parameter) is not None for node in plan(space).nodes)


def count_grid(space: Space | Plan, limit: int = GRID_LIMIT) -> int:
    """Count the distinct points of the grid; past `limit` it may be a lower bound (see `Points.count`)."""
    return grid(space).count(limit)


def grid_point(space: Space | Plan, index: int) -> Point:
    """Return one grid point by number. For many points make `grid(space)` once and ask it."""
    return grid(space).point(index)


def count_discrete(space: Space | Plan, limit: int = GRID_LIMIT) -> int:
    """Count the distinct points of a wholly discrete space, as `count_grid` does."""
    return discrete(space).count(limit)


def discrete_point(space: Space | Plan, index: int) -> Point:
    """Return one point of a wholly discrete space by number. For many make `discrete(space)` once and ask it."""
    return discrete(space).point(index)


def draw_point(space: Space | Plan, *, seed: int, index: int, attempt: int = 0) -> Point:
    """Draw the point of one index, which depends on nothing else; further attempts (below 1000) give further points."""
    return draw(space, Draws(seed, index, salt=attempt))


def dedupe_key(params: Mapping[str, Value]) -> str:
    """Return a short text that two points share only if they are the same point; 1 and 1.0 are, 1 and true are not."""
    marked = [[name, *identity(value)] for name, value in sorted(params.items())]
    plain = [[name, kind, float(value) if kind == "number" else value] for name, kind, value in marked]  # type: ignore[arg-type]
    return hashlib.blake2b(json.dumps(plain).encode(), digest_size=16).hexdigest()
