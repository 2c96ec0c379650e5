"""What NSGA-II is made of: who may be a parent, in which order, and how a point is bred from two. Pure functions of draws."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from search.pareto import Losses, crowding, dominators, fronts
from search.records import Params
from search.space.coordinates import Given, share_of
from search.space.nodes import Node
from search.space.parameters import CategoricalParameter, Point, Value
from search.space.plan import Plan, fill
from search.space.sampling import Draws

_CROSSOVER_SPREAD = 10.0  # the larger, the nearer to its parents a child's value lies
_MUTATION_SPREAD = 15.0  # likewise to the value that is changed
_BELOW_ONE = 1 - 2.0**-53
_BLOCK = 2048  # trials taken in at once; comparing n with each other takes n^2 / 8 bytes

T = TypeVar("T")
Genes: TypeAlias = Mapping[str, "Gene | None"]


@dataclass(frozen=True, slots=True)
class Parent:
    """A trial that points can be bred from.

    `losses` is None unless it completed and is feasible; the others are ordered by `behind` alone, lowest first.
    """

    number: int
    params: Params
    generation: int
    losses: Losses | None
    behind: tuple[float, ...] = ()


@dataclass(slots=True)
class Pool:
    """The trials among which the `size` best are, whatever comes: who has `size` dominators will never be one of them."""

    size: int
    _feasible: dict[int, Parent] = field(default_factory=dict)
    _others: dict[int, Parent] = field(default_factory=dict)
    _best: list[Parent] | None = None

    def add(self, trials: Sequence[Parent]) -> None:
        """Take in trials with a result. Which the best are does not depend on the order in which they were heard of."""
        for start in range(0, len(trials), _BLOCK):
            self._take(trials[start : start + _BLOCK])
            self._best = None

    def best(self) -> list[Parent]:
        """Return the `size` best: by front and crowding, then those behind them (Deb's rules for constraints)."""
        if self._best is None:
            self._best = _ranked(list(self._feasible.values()), self.size)
            self._best += self._behind(self.size - len(self._best))
        return self._best

    def _take(self, trials: Iterable[Parent]) -> None:
        for trial in trials:
            (self._others if trial.losses is None else self._feasible)[trial.number] = trial
        kept = list(self._feasible.values())
        beaten = dominators([trial.losses or () for trial in kept])
        self._feasible = {
            trial.number: trial for trial, mask in zip(kept, beaten, strict=True) if mask.bit_count() < self.size
        }
        self._others = {trial.number: trial for trial in self._behind(self.size)}

    def _behind(self, count: int) -> list[Parent]:
        return sorted(self._others.values(), key=lambda trial: (trial.behind, trial.number))[:count]


def _ranked(trials: Sequence[Parent], size: int) -> list[Parent]:
    ordered = sorted(trials, key=lambda trial: trial.number)
    points = [trial.losses or () for trial in ordered]
    ranked: list[Parent] = []
    for places in fronts(points):
        apart = dict(zip(places, crowding([points[place] for place in places]), strict=True))
        ranked += [ordered[place] for place in sorted(places, key=lambda place: (-apart[place], place))]
        if len(ranked) >= size:
            break
    return ranked[:size]


@dataclass(frozen=True, slots=True)
class Gene:
    """A number's coordinate, from 0 to 1, and the value at a coordinate."""

    share: Callable[[Value], float]
    value: Callable[[float], Value]


def gene(node: Node) -> Gene | None:
    """Return how a parameter is bred; None where its values have no order."""
    if isinstance(node.parameter, CategoricalParameter):
        return None
    return Gene(
        share=lambda value: share_of(node.parameter, value) or 0.0,
        value=lambda share: node.draw(Given(min(share, _BELOW_ONE))),
    )


def breed(plan: Plan, genes: Genes, parents: Sequence[Parent], draws: Draws, *, mutation: float) -> Point:
    """Make a point of one or two parents: each parameter from them where they have it, else at random.

    Numbers are crossed by simulated binary crossover and changed by polynomial mutation (Deb and Agrawal, 1995), choices
    are taken from either parent and redrawn.
    """

    def choose(node: Node) -> Value:
        given: list[Any] = [parent.params[node.name] for parent in parents if node.name in parent.params]
        how, changed = genes[node.name], draws.uniform() < mutation
        if not given or (how is None and changed):
            return node.draw(draws)
        either: Value = _either(given, draws)
        if how is None:
            return either
        shares = [how.share(value) for value in given]
        crossed = len(shares) == 2 and draws.uniform() < 0.5
        if not (crossed or changed):
            return either
        share = _cross(shares, draws) if crossed else _either(shares, draws)
        value = how.value(_mutate(share, draws) if changed else share)
        # Of few values the nearest may still be the same one.
        return node.draw(draws) if changed and value in given else value

    return fill(plan, choose)


def _either(given: Sequence[T], draws: Draws) -> T:
    return given[draws.below(len(given))]


def _cross(shares: Sequence[float], draws: Draws) -> float:
    near, far = shares if draws.uniform() < 0.5 else shares[::-1]
    lot, power = draws.uniform(), 1 / (_CROSSOVER_SPREAD + 1)
    spread = math.pow(2 * lot if lot < 0.5 else 1 / (2 * (1 - lot)), power)
    return min(max(((1 + spread) * near + (1 - spread) * far) / 2, 0.0), 1.0)


def _mutate(share: float, draws: Draws) -> float:
    lot, power = draws.uniform(), _MUTATION_SPREAD + 1
    if lot < 0.5:
        step = math.pow(2 * lot + (1 - 2 * lot) * math.pow(1 - share, power), 1 / power) - 1
    else:
        step = 1 - math.pow(2 * (1 - lot) + (2 * lot - 1) * math.pow(share, power), 1 / power)
    return min(max(share + step, 0.0), 1.0)
