"""CMA-ES over whatever has finished, for spaces of numbers without conditions.

The trials that have finished, in the order in which they did, are cut into generations; each moves the distribution on
(`search.strategies.evolution`), and a point is drawn from where it stands by (seed, draw index). So a suggestion depends on
the seed, the draw index and the trials finished by its cut-off, which `why` records, and neither on what is under way nor
on who asked: any number of points may be out at a time.

What a trial tells: a completed one its score; a pruned one ranks behind all completed ones of its generation, and a
diverged one behind those. Failed and cancelled ones tell nothing. Once the distribution is too narrow to find anything, or
a generation's scores are all the same, it starts again from a random point with twice the population (A. Auger and
N. Hansen, "A Restart CMA Evolution Strategy With Increasing Population Size", 2005).
"""

from collections.abc import Sequence

import numpy as np

from search.definition.planning import plan_of
from search.definition.schema import StudyDefinition
from search.definition.searches import CmaesSearch
from search.records import Suggestion, TrialRecord
from search.space.axes import lattice
from search.space.coordinates import point_at, share_of
from search.space.nodes import Node
from search.space.parameters import Point
from search.space.plan import mend, satisfies
from search.space.sampling import EVOLUTION_SALT, MEND_SALT, RESTART_SALT, Draws
from search.strategies.evolution import Array, advance, begin, is_spent, rates, sample

_RANKS = {"completed": 0, "pruned": 1, "diverged": 2}
_TRIES = 32  # at a point inside the space; then the first is moved to its border
_JUMP = 0.4  # of the width of a step: the least deviation of a parameter with steps


class Cmaes:
    """A distribution that the finished trials have moved."""

    reads_history = True
    reads_curves = False

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        if not isinstance(definition.search, CmaesSearch):
            raise TypeError("not a cmaes study")
        self._seed = seed
        self._plan = plan_of(definition)
        self._free = [place for place, node in enumerate(self._plan.nodes) if _size(node) != 1]
        self._least = np.array([_JUMP / size if (size := _size(node)) else 0.0 for node in self._nodes()])
        self._population = definition.search.generation(len(self._free))
        self._restarts = 0
        self._distribution = begin(np.array([_start(node) for node in self._nodes()]))
        self._rates = rates(len(self._free), self._population)
        self._told: set[int] = set()
        self._waiting: list[tuple[tuple[int, float, int], list[float]]] = []
        self._cutoff = 0

    def _nodes(self) -> list[Node]:
        return [self._plan.nodes[place] for place in self._free]

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Take in changed trials; work is in proportion to them."""
        for trial in trials:
            self._cutoff = max(self._cutoff, trial.seq)
            rank, point = _RANKS.get(trial.state), self._coordinates(trial)
            if rank is None or point is None or trial.number in self._told:
                continue
            if trial.score is None and trial.state != "diverged":
                continue
            self._told.add(trial.number)
            self._waiting.append(((rank, trial.score or 0.0, trial.number), point))
            if len(self._waiting) == self._population:
                self._move()

    def suggest(self, indices: range) -> list[Suggestion]:
        """Return one point for each draw index."""
        why = {"cutoff": self._cutoff, "generation": self._distribution.generation, "restarts": self._restarts}
        return [Suggestion(params=self._draw(index), origin="model", why={"draw": index, **why}) for index in indices]

    def _draw(self, index: int) -> Point:
        """Draw until a point lies in the space and keeps the constraints; else move the first one there."""
        draws = Draws(self._seed, index, salt=EVOLUTION_SALT)
        first: Point | None = None
        for _ in range(_TRIES):
            normals = np.array([[draws.normal() for _ in self._free]])
            (place,) = sample(self._distribution, normals, self._least)
            point = point_at(self._plan, self._whole(place))
            if ((place >= 0) & (place <= 1)).all() and satisfies(self._plan, point):
                return point
            first = point if first is None else first
        return mend(self._plan, first or {}, Draws(self._seed, index, salt=MEND_SALT))

    def _whole(self, point: Array) -> list[float]:
        """Add the coordinates of the parameters that have one value only."""
        shares = [0.5] * len(self._plan.nodes)
        for place, share in zip(self._free, np.clip(point, 0.0, 1.0).tolist(), strict=True):
            shares[place] = share
        return shares

    def _coordinates(self, trial: TrialRecord) -> list[float] | None:
        """Return where a trial lies in the cube; None if it has no point, or one outside the space."""
        if trial.params is None or any(node.name not in trial.params for node in self._plan.nodes):
            return None
        shares = [share_of(node.parameter, trial.params[node.name]) for node in self._plan.nodes]
        inside = [share for share in shares if share is not None]
        return [inside[place] for place in self._free] if len(inside) == len(shares) else None

    def _move(self) -> None:
        generation = sorted(self._waiting)
        self._waiting = []
        self._distribution = advance(self._distribution, np.array([point for _, point in generation]), self._rates)
        flat = generation[0][0][:2] == generation[-1][0][:2]
        if flat or is_spent(self._distribution):
            self._restart()

    def _restart(self) -> None:
        self._restarts += 1
        self._population *= 2
        draws = Draws(self._seed, self._restarts, salt=RESTART_SALT)
        self._distribution = begin(np.array([draws.uniform() for _ in self._free]))
        self._rates = rates(len(self._free), self._population)


def _size(node: Node) -> int | None:
    """Return how many values a parameter has; None if it is continuous."""
    axis = lattice(node.parameter)
    return None if axis is None else axis.size


def _start(node: Node) -> float:
    """Return where a parameter's search begins: at its default, or in the middle of its scale."""
    share = share_of(node.parameter, node.parameter.default)
    return 0.5 if share is None else share
