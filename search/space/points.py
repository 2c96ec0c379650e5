"""The points of a space by number, none of them made before it is asked for: grids, and wholly discrete spaces.

Points are counted by walking the parameters in order. All that matters of the choices so far is which later parameters
they have switched off, a bit mask, and how far each constraint's sum has come; a constraint that nothing later can break
is forgotten, one that nothing later can mend ends the walk. Points that break a constraint have no number.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

from search.space.axes import Axis, grid_axis, lattice
from search.space.constraints import Constraint
from search.space.derived import Derivation, derive
from search.space.nodes import Node, Space
from search.space.parameters import Point, Searched, Value
from search.space.plan import Plan, plan
from search.space.rulers import MOST_LISTED, Measured, Ruler, make_ruler

GRID_LIMIT = 1_000_000
_MOST_WORK = 150_000  # branches looked at before an exact count is given up for a bound

Sums: TypeAlias = tuple[int | None, ...]  # of each constraint so far; None once it cannot be broken any more
State: TypeAlias = tuple[int, Sums]
Span: TypeAlias = tuple[int, int]
_NOTHING: Span = 0, 0


class Uncountable(ValueError):
    """Conditions and constraints tie so many values together that neither a number nor a large enough bound was found."""


class _TooMuchWorkError(Exception):
    """An exact count takes too long."""


@dataclass(frozen=True, slots=True)
class _Branch:
    """Some points of one parameter after which all goes on alike: how many, to which state, and the place of each.

    The places rise, or where there are values `by` place, those do.
    """

    times: int
    state: State
    place: Callable[[int], int]
    by: Sequence[int] | None = None

    def find(self, place: int) -> int | None:
        """Return which of these points lies at a place, the inverse of `place`; None for none."""
        by = self.by
        if by is None:
            index = bisect_left(range(self.times), place, key=self.place)
        else:
            index = bisect_left(range(self.times), by[place], key=lambda each: by[self.place(each)])
        return index if index < self.times and self.place(index) == place else None


@dataclass(frozen=True, slots=True)
class _Step:
    """A parameter with its points, grouped by what they switch off: (bits off, how many, the place of each).

    `terms` are its coefficients by the constraint's index, `values` its numbers by place, both as the `Ruler` has them.
    `rising` are its places in order of their values, `ranked` those values.
    """

    node: Node
    axis: Axis
    groups: tuple[tuple[int, int, Callable[[int], int]], ...]
    terms: tuple[tuple[int, int], ...] = ()
    values: Sequence[int] = ()
    rising: Sequence[int] = ()
    ranked: Sequence[int] = ()


def _step(node: Node, axis: Axis, constraints: Sequence[Constraint], ruler: Ruler) -> _Step:
    groups = tuple(_groups(node, axis))
    terms = tuple(
        (index, ruler.factor(constraint.terms[node.name]))
        for index, constraint in enumerate(constraints)
        if node.name in constraint.terms
    )
    if not terms:
        return _Step(node, axis, groups)
    measured = Measured(axis, ruler)
    if axis.size > MOST_LISTED:
        return _Step(node, axis, groups, terms, measured, range(axis.size), measured)
    values = list(measured)
    rising = sorted(range(axis.size), key=values.__getitem__)
    return _Step(node, axis, groups, terms, values, rising, [values[place] for place in rising])


def _groups(node: Node, axis: Axis) -> Iterator[tuple[int, int, Callable[[int], int]]]:
    named: dict[int, list[int]] = {}
    for (_, value), bits in node.satisfied.items():
        place = axis.place(value)
        if place is not None:
            named.setdefault(node.children & ~bits, []).append(place)
    for off, places in named.items():
        yield off, len(places), sorted(places).__getitem__
    mentioned = sorted(place for found in named.values() for place in found)
    if len(mentioned) < axis.size:
        yield node.children, axis.size - len(mentioned), lambda index: _nth_beside(mentioned, index)


def _nth_beside(skipped: list[int], index: int) -> int:
    """Return the place of a number among the places that are not skipped."""
    for place in skipped:
        index += place <= index
    return index


@dataclass(slots=True)
class Points:
    """The points of a space by number; `make_points` builds it."""

    steps: tuple[_Step, ...]
    limits: tuple[tuple[int | None, int | None], ...]
    rests: tuple[tuple[Span, ...], ...]  # before each step and behind the last: what may still be added to each sum
    derivations: tuple[Derivation, ...]
    exact: bool = True  # False once a count was given up for a lower bound
    _completions: dict[tuple[int, State], int] = field(default_factory=dict)
    _work: int = 0

    def count(self, limit: int = GRID_LIMIT) -> int:
        """Count exactly, however many; only past `limit` and with much entangled conditions return a lower bound.

        Raise Uncountable if neither can be found in reasonable time.
        """
        start = self._start()
        if start is None:
            return 0
        self._work = _MOST_WORK
        try:
            return self._complete(0, start, bounded=True)
        except _TooMuchWorkError:
            self.exact = False
            return self._at_least(limit, start)

    def point(self, index: int) -> Point:
        """Return the point of a number below `count`, by mixed radix. Raise IndexError beyond."""
        state = self._start()
        if state is None or not 0 <= index < self._complete(0, state):
            raise IndexError(f"there is no point {index}")
        point: Point = {}
        for position, step in enumerate(self.steps):
            skipped = bool(state[0] & step.node.bit)
            for branch in self._branches(position, state):
                each = self._complete(position + 1, branch.state)
                if index < branch.times * each:
                    break
                index -= branch.times * each
            place, index = divmod(index, each)
            if not skipped:
                point[step.node.name] = step.axis.at(branch.place(place))
            state = branch.state
        return point | derive(self.derivations, point)

    def index(self, point: Mapping[str, Value]) -> int | None:
        """Return the number of a whole point, the inverse of `point`.

        None if one of its values is none of its axis, or if it breaks a constraint. Derived values are not looked at.
        """
        state, number = self._start(), 0
        for position in range(len(self.steps)):
            found = self._find(position, state, point) if state is not None else None
            if found is None:
                return None
            before, nth, state = found
            number += before + nth * self._complete(position + 1, state)
        return None if state is None else number

    def _find(self, position: int, state: State, point: Mapping[str, Value]) -> tuple[int, int, State] | None:
        """Follow a point through one step: (points on the branches before its own, which of its branch, state)."""
        step, before = self.steps[position], 0
        skipped = bool(state[0] & step.node.bit)
        if not skipped and step.node.name not in point:
            return None
        place = 0 if skipped else step.axis.place(point[step.node.name])
        if place is None:
            return None
        for branch in self._branches(position, state):
            nth = branch.find(place)
            if nth is not None:
                return before, nth, branch.state
            before += branch.times * self._complete(position + 1, branch.state)
        return None

    def _start(self) -> State | None:
        sums = self._settled(0, (0,) * len(self.limits))
        return None if sums is None else (0, sums)

    def _complete(self, position: int, state: State, *, bounded: bool = False) -> int:
        """In how many ways the parameters from `position` on can be filled."""
        if position == len(self.steps):
            return 1
        key = position, state
        if key not in self._completions:
            ways = 0
            for branch in self._branches(position, state):
                self._work -= bounded
                if bounded and self._work < 0:
                    raise _TooMuchWorkError
                ways += branch.times * self._complete(position + 1, branch.state, bounded=bounded)
            self._completions[key] = ways
        return self._completions[key]

    def _at_least(self, limit: int, start: State) -> int:
        """Add up points one way after another until there are more than `limit`, or all."""
        found = 0
        for work, more in enumerate(self._walk(0, start)):
            found += more
            if found > limit:
                break
            if work > _MOST_WORK:
                raise Uncountable("its conditions and constraints tie too many values together to be counted")
        return found

    def _walk(self, position: int, state: State, times: int = 1) -> Iterator[int]:
        """Yield how many points each way adds, and 0 for every step on it."""
        known = 1 if position == len(self.steps) else self._completions.get((position, state))
        if known is not None:
            yield times * known
            return
        for branch in self._branches(position, state):
            yield 0
            yield from self._walk(position + 1, branch.state, times * branch.times)

    def _branches(self, position: int, state: State) -> Iterator[_Branch]:
        step, (off, sums) = self.steps[position], state
        if off & step.node.bit:
            settled = self._settled(position + 1, sums)
            if settled is not None:
                yield _Branch(1, ((off | step.node.children) & ~step.node.bit, settled), lambda _: 0)
            return
        terms = [(index, factor) for index, factor in step.terms if sums[index] is not None]
        if not terms:
            settled = self._settled(position + 1, sums)
            if settled is not None:
                for more, times, place in step.groups:
                    yield _Branch(times, ((off | more) & ~step.node.bit, settled), place)
        elif not step.node.children and all(self.rests[position + 1][index] == _NOTHING for index, _ in terms):
            yield from self._closing(position, off, sums, terms)
        else:
            yield from self._each(position, off, sums, terms)

    def _each(self, position: int, off: int, sums: Sums, terms: list[tuple[int, int]]) -> Iterator[_Branch]:
        """Branch for each value by itself, as each brings the sums elsewhere."""
        step = self.steps[position]
        for more, times, place_of in step.groups:
            for index in range(times):
                place = place_of(index)
                value, reached = step.values[place], list(sums)
                for which, factor in terms:
                    reached[which] = (sums[which] or 0) + factor * value
                settled = self._settled(position + 1, tuple(reached))
                if settled is not None:
                    yield _Branch(1, ((off | more) & ~step.node.bit, settled), lambda _, place=place: place)  # type: ignore[misc]

    def _closing(self, position: int, off: int, sums: Sums, terms: list[tuple[int, int]]) -> Iterator[_Branch]:
        """Take all values at once that the last parameter of its constraints may have: a stretch of its places."""
        step = self.steps[position]
        first, stop = 0, step.axis.size
        self._work -= stop.bit_length()
        for index, factor in terms:
            ends = [None if end is None else end - (sums[index] or 0) for end in self.limits[index]]
            low, high = ends if factor > 0 else ends[::-1]
            if low is not None:
                first = max(first, bisect_left(step.ranked, Fraction(low, factor)))
            if high is not None:
                stop = min(stop, bisect_right(step.ranked, Fraction(high, factor)))
        closed = {index for index, _ in terms}
        settled = self._settled(position + 1, tuple(None if i in closed else each for i, each in enumerate(sums)))
        if first < stop and settled is not None:
            yield _Branch(
                stop - first, (off & ~step.node.bit, settled), lambda place: step.rising[first + place], step.values
            )

    def _settled(self, position: int, sums: Sums) -> Sums | None:
        """Forget the sums that nothing from `position` on can spoil; None if one can no longer be mended."""
        settled: list[int | None] = []
        for reached, (least, most), (low, high) in zip(sums, self.limits, self.rests[position], strict=True):
            if reached is None:
                settled.append(None)
                continue
            if (most is not None and reached + low > most) or (least is not None and reached + high < least):
                return None
            safe = (most is None or reached + high <= most) and (least is None or reached + low >= least)
            settled.append(None if safe else reached)
        return tuple(settled)


def _rests(steps: Sequence[_Step], constraints: int) -> tuple[tuple[Span, ...], ...]:
    spans: list[tuple[Span, ...]] = [(_NOTHING,) * constraints]
    for step in reversed(steps):
        behind = list(spans[-1])
        for index, factor in step.terms:
            ends = [factor * step.ranked[0], factor * step.ranked[-1]]
            if step.node.parameter.when:
                ends.append(0)
            behind[index] = behind[index][0] + min(ends), behind[index][1] + max(ends)
        spans.append(tuple(behind))
    return tuple(reversed(spans))


def make_points(space: Space | Plan, axis_of: Callable[[Searched], Axis | None]) -> Points:
    """Number the points of a space whose parameters have the axes given. Raise ValueError if one has none."""
    the_plan = plan(space)
    axes = []
    for node in the_plan.order:
        axis = axis_of(node.parameter)
        if axis is None:
            raise ValueError(f"{node.name} is continuous: give it levels or a step")
        axes.append((node, axis))
    ruler = make_ruler(axes, the_plan.constraints)
    steps = tuple(_step(node, axis, the_plan.constraints, ruler) for node, axis in axes)
    limits = tuple(map(ruler.limits, the_plan.constraints))
    return Points(steps, limits, _rests(steps, len(limits)), the_plan.derivations)


def grid(space: Space | Plan) -> Points:
    """Number the points of the grid over a space: the levels of each parameter, or all its values."""
    return make_points(space, grid_axis)


def discrete(space: Space | Plan) -> Points:
    """Number all the points of a wholly discrete space."""
    return make_points(space, lattice)


def is_discrete(space: Space | Plan) -> bool:
    """Say whether every parameter has countably many values: categorical, int, or float with a step."""
    return all(lattice(node.parameter) is not None for node in plan(space).nodes)


def countable(space: Space | Plan) -> Points | None:
    """Number the points of a wholly discrete space; None if it is none, or if they cannot be counted."""
    the_plan = plan(space)
    if not is_discrete(the_plan):
        return None
    points = discrete(the_plan)
    try:
        points.count()
    except Uncountable:
        return None
    return points


def count_grid(space: Space | Plan, limit: int = GRID_LIMIT) -> int:
    """Count the distinct points of the grid; past `limit` it may be a lower bound (see `Points.count`)."""
    return grid(space).count(limit)


def grid_point(space: Space | Plan, index: int) -> Point:
    """Return one grid point by number. For many points make `grid(space)` once and ask it."""
    return grid(space).point(index)
