"""A genetic algorithm for several objectives and constraints: NSGA-II (Deb et al., 2002), without waiting for generations.

The first `population_size` draw indices are random points. Every later point is bred from the best `population_size` of
all trials known then, so no worker waits for a generation to be full (as in the steady-state form of Durillo et al., 2008):

    completed, feasible      by front, then by crowding: those come first that few others are near
    completed, infeasible    by how far they violate the constraints; last those of which it is not known
    pruned, diverged         behind them, in this order
    running, queued          only keep their own point from being suggested again
    failed, cancelled        teach nothing

Two binary tournaments in that order choose the parents. `why` names them, and the child's `generation`, one more than
theirs; besides the same `draw`, `batch`, `cutoff` and `pending` as of the Bayesian strategy, from which the point can be
derived again: it depends on the seed, the draw index and the trials known, not on when they were heard of. (Optuna's
sampler notes who the parents of a generation are when it is first asked, so its points depend on that moment.)
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from search.definition.planning import plan_of
from search.definition.schema import StudyDefinition
from search.definition.searches import Nsga2Search
from search.records import Suggestion, TrialRecord
from search.scoring import losses
from search.space.fallback import fallback_points
from search.space.parameters import Point
from search.space.plan import dedupe_key, mend
from search.space.sampling import MEND_SALT, MODEL_SALT, Draws
from search.space.validation import validate_point
from search.strategies.breeding import Parent, Pool, breed, gene
from search.strategies.taken import Taken

_TRIES = 4
_MATES = 2**62  # trial numbers from here on stand for the points of the call under way
_PENDING = frozenset({"queued", "running"})
# Behind the feasible ones, in this order.
_INFEASIBLE, _PRUNED, _DIVERGED = 1.0, 2.0, 3.0


class Nsga2:
    """Points bred from the best trials so far."""

    reads_history = True
    reads_curves = False

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        search = definition.search
        if not isinstance(search, Nsga2Search):
            raise TypeError("not an nsga2 study")
        self._definition = definition
        self._seed = seed
        self._startup = search.population_size
        self._crossover = search.crossover
        self._plan = plan_of(definition)
        self._mutation = 1 / max(1, len(self._plan.nodes)) if search.mutation is None else search.mutation
        self._genes = {node.name: gene(node) for node in self._plan.nodes}
        self._pool = Pool(search.population_size)
        self._taken = Taken(self._plan)
        self._cutoff = 0
        self._pending: set[int] = set()

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Take in changed trials; work is in proportion to them, not to the history."""
        for trial in trials:
            self._cutoff = max(self._cutoff, trial.seq)
            self._taken.put(trial.number, trial.params)
            if trial.state in _PENDING and trial.params is not None:
                self._pending.add(trial.number)
            else:
                self._pending.discard(trial.number)
        self._pool.add([parent for trial in trials if (parent := self._parent(trial)) is not None])

    def suggest(self, indices: range) -> list[Suggestion]:
        """Return one point for each draw index."""
        suggestions = []
        for index in indices:
            suggestions.append(self._suggest(index, indices.start))
            self._taken.put(_MATES + index, suggestions[-1].params)
        for index in indices:
            self._taken.put(_MATES + index, None)
        return suggestions

    def _parent(self, trial: TrialRecord) -> Parent | None:
        """Return what a trial is worth as a parent; None if nothing, or if its point lies outside the space."""
        worth = self._worth(trial)
        if worth is None or trial.params is None or validate_point(self._plan, trial.params):
            return None
        generation = trial.why.get("generation", 0)
        return Parent(trial.number, trial.params, generation, *worth)

    def _worth(self, trial: TrialRecord) -> tuple[tuple[float, ...] | None, tuple[float, ...]] | None:
        if trial.state == "diverged":
            return None, (_DIVERGED,)
        if trial.state == "pruned":
            return None, (_PRUNED,)
        if trial.state != "completed":
            return None
        if trial.violation != 0:
            return None, (_INFEASIBLE, math.inf if trial.violation is None else trial.violation)
        found = losses(self._definition, trial.values) if trial.score is None else (trial.score,)
        return None if found is None else (found, ())

    def _suggest(self, index: int, batch: int) -> Suggestion:
        why = {"draw": index, "batch": batch, "cutoff": self._cutoff, "pending": sorted(self._pending)}
        for origin, params, how in self._candidates(index):
            key = dedupe_key(params)
            if self._taken.all or key not in self._taken:
                kept = None if self._taken.points is None or self._taken.all else key
                return Suggestion(params=params, origin=origin, why={**why, **how}, dedupe_key=kept)
        # Every candidate was tried before: let the first stand.
        origin, params, how = next(self._candidates(index))
        return Suggestion(params=params, origin=origin, why={**why, **how})

    def _candidates(self, index: int) -> Iterator[tuple[str, Point, Mapping[str, Any]]]:
        """Yield (origin, point, how it was found) from the most wanted to the last resort."""
        startup = index < self._startup
        best = [] if startup else self._pool.best()
        for attempt in range(_TRIES if best else 0):
            draws = Draws(self._seed, index, salt=MODEL_SALT + attempt)
            parents = self._parents(best, draws)
            point = breed(self._plan, self._genes, parents, draws, mutation=self._mutation)
            kept = mend(self._plan, point, Draws(self._seed, index, salt=MEND_SALT))
            yield "model", kept, _how("nsga2", parents)
        for how, point in fallback_points(self._plan, self._taken.points, seed=self._seed, index=index):
            yield "startup" if startup and how == "random" else "random", point, _how(how, [])

    def _parents(self, best: Sequence[Parent], draws: Draws) -> list[Parent]:
        first = min(draws.below(len(best)), draws.below(len(best)))
        if len(best) == 1 or draws.uniform() >= self._crossover:
            return [best[first]]
        others = [*best[:first], *best[first + 1 :]]
        return [best[first], others[min(draws.below(len(others)), draws.below(len(others)))]]


def _how(sampler: str, parents: Sequence[Parent]) -> dict[str, Any]:
    generation = 1 + max((parent.generation for parent in parents), default=-1)
    return {"sampler": sampler, "generation": generation, "parents": [parent.number for parent in parents]}
