"""The order of a space and its conditions: parents first, each parameter with what its values switch off.

Nothing depends on the order of the mapping's keys, since databases do not keep it: parents come first, a child as soon as
its last parent is placed, and else names in alphabetical order. A parameter is active where every condition of its `when`
holds; a condition on an inactive parent does not hold. What is derived has no place here, as nothing depends on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from search.space.axes import drawer
from search.space.parameters import (
    CategoricalParameter,
    DerivedParameter,
    FixedParameter,
    Parameter,
    Searched,
    Value,
    identity,
)
from search.space.sampling import Draws

Space: TypeAlias = Mapping[str, Parameter]


@dataclass(frozen=True, slots=True)
class Node:
    """A parameter in its place: `bit` is its own in the mask of switched-off ones, `children` the bits it decides on.

    A fixed value stands in the order, too, as a parameter with one choice that is not `searched`.
    """

    name: str
    parameter: Searched
    searched: bool
    bit: int
    children: int
    satisfied: Mapping[tuple[str, Value], int]  # value -> bits of the children whose condition it meets
    draw: Callable[[Draws], Value]

    def switched_off(self, value: Value) -> int:
        """Return the bits of the children that `value` rules out."""
        return self.children & ~self.satisfied.get(identity(value), 0)


def make_nodes(space: Space) -> tuple[Node, ...]:
    """Put all parameters but the derived ones in order. Raise ValueError for an unknown parent or a circle."""
    roots = {name: parameter for name, parameter in space.items() if not isinstance(parameter, DerivedParameter)}
    if any(parent not in roots for parameter in roots.values() for parent in parameter.when or {}):
        raise ValueError("a condition names a parameter that is unknown or derived")
    names = ordered({name: tuple(parameter.when or ()) for name, parameter in roots.items()})
    if len(names) < len(roots):
        raise ValueError("the conditions form a circle")
    return tuple(_node(roots, names, name) for name in names)


def _node(space: Space, names: list[str], name: str) -> Node:
    satisfied: dict[tuple[str, Value], int] = {}
    children = 0
    for position, child in enumerate(names):
        for value in (space[child].when or {}).get(name, ()):
            satisfied[identity(value)] = satisfied.get(identity(value), 0) | 1 << position
            children |= 1 << position
    parameter = space[name]
    searched = as_searched(parameter)
    return Node(
        name=name,
        parameter=searched,
        searched=searched is parameter,
        bit=1 << names.index(name),
        children=children,
        satisfied=satisfied,
        draw=drawer(searched),
    )


def as_searched(parameter: Parameter) -> Searched:
    """Return the parameter, a fixed value as the only one of its choices. Raise TypeError for a derived one."""
    if isinstance(parameter, DerivedParameter):
        raise TypeError("a derived parameter has no values of its own")
    if isinstance(parameter, FixedParameter):
        return CategoricalParameter(type="categorical", choices=(parameter.value,), when=parameter.when)
    return parameter


def ordered(parents: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Parents first, children right after their last parent, ties by name; what hangs on a circle is left out.

    Parents that are no names themselves are passed over.
    """
    waiting = {name: {parent for parent in parents[name] if parent in parents} for name in sorted(parents)}
    children: dict[str, list[str]] = {name: [] for name in parents}
    for name, of in waiting.items():
        for parent in of:
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


def circular(parents: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the names that are on a circle: of what cannot be placed, without what merely hangs on it."""
    placed = set(ordered(parents))
    left = {name for name in parents if name not in placed}
    while ends := {name for name in left if not any(name in parents[other] for other in left)}:
        left -= ends
    return sorted(left)
