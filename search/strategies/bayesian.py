"""Model-based search: a Gaussian process while results are few, a Parzen estimator once they are many.

A suggestion depends on the seed, the draw index, the results and the pending trials alone. `why` records them: `cutoff`,
the last `seq` seen; `pending`, the numbers of the trials that were under way; `waiting` and `reached`, the trials that
waited at a rung or were under way with a curve that counted, and to which step it went; `batch`, the first draw index of
the call, since the points of one call know of each other. Suggesting `range(batch, draw + 1)` again over that history
gives the same point.

The first `startup` draw indices are spread over the space, and further ones until a trial has completed. On a wholly discrete space a point is not suggested twice while
others are left.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from search.definition.focus import held
from search.definition.prunings import has_curves
from search.definition.schema import StudyDefinition
from search.definition.searches import BayesianSearch
from search.records import Suggestion, TrialRecord
from search.space.fallback import fallback_points
from search.space.parameters import FixedParameter, Point
from search.space.plan import dedupe_key, mend, plan, satisfies
from search.space.sampling import MEND_SALT, MODEL_SALT, Draws
from search.strategies.advice import Advice
from search.strategies.evidence import Evidence, Seen
from search.strategies.taken import Taken
from search.surrogates.columns import Columns, Matrix
from search.surrogates.design import spread
from search.surrogates.engines import Engine, Gaussian, Parzen
from search.surrogates.proposals import Accept, Proposal

# What a Gaussian process costs grows with the square of both; beyond these the Parzen estimator takes over.
_MOST_RESULTS = 200
_MOST_COLUMNS = 32
_MOST_EVER = 500  # a process of more takes seconds for a point
_MATES = 2**62  # trial numbers from here on stand for the points of the call under way

Candidate: TypeAlias = tuple[str, dict[str, Any], Point]  # origin, further reasons, point


def _gain(proposal: Proposal) -> dict[str, float]:
    return {} if proposal.improvement is None else {"expected_improvement": proposal.improvement}


class Bayesian:
    """Points suggested by a model of everything told so far."""

    reads_history = True

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        if not isinstance(definition.search, BayesianSearch):
            raise TypeError("not a bayesian study")
        self.reads_curves = has_curves(definition.pruning)
        self._seed = seed
        self._startup = definition.search.startup
        self._wanted = definition.search.model
        self._held = held(definition, definition.search.held or ())
        kept = {
            name: FixedParameter(type="fixed", value=value, when=definition.space[name].when)
            for name, value in self._held.items()
        }
        self._plan = plan({**definition.space, **kept}, definition.constraints)
        self._columns = Columns(self._plan)
        self._advice = Advice(definition, self._columns)
        self._starts = self._random(0, salt=0).random(len(self._columns))
        self._evidence = Evidence(self._columns, constrained=bool(definition.thresholds))
        self._engines: dict[str, Engine] = {
            "gp": Gaussian(self._columns, self._advice.bonus),
            "tpe": Parzen(self._columns),
        }
        self._taken = Taken(self._plan)

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Take in changed trials; work is in proportion to them, not to the history."""
        self._evidence.update(trials)
        if self._taken.points is not None:
            for trial in trials:
                self._taken.put(trial.number, trial.params)

    def suggest(self, indices: range) -> list[Suggestion]:
        """Return one point for each draw index."""
        modelled = range(max(indices.start, min(self._startup, indices.stop)), indices.stop)
        name, because = self._chosen(len(self._evidence))
        seen = self._evidence.seen(foresees=name == "gp")
        why = {"batch": indices.start, **seen.record, **({"held": sorted(self._held)} if self._held else {})}
        said = {"sampler": name, "because": because}
        proposed = iter(self._model(seen, said, modelled, indices) if modelled else ())
        suggestions = []
        for index in indices:
            first = (next(proposed, None) if index in modelled else None) or self._start(index)
            suggestion = self._settled(index, first, why)
            suggestions.append(suggestion)
            if suggestion.dedupe_key is not None:
                self._taken.put(_MATES + index, suggestion.params)
        for index in indices:
            self._taken.put(_MATES + index, None)
        return suggestions

    def _start(self, index: int) -> Candidate:
        row = spread(self._columns, self._starts, index)
        inside = index % 4 != 3  # the rest looks at what nobody recommends
        point = self._columns.decode(self._advice.inside(row) if inside else row)
        return "startup", {"sampler": "spread"}, mend(self._plan, point, Draws(self._seed, index, salt=MEND_SALT))

    def _model(self, seen: Seen, said: dict[str, str], modelled: range, indices: range) -> list[Candidate]:
        """Ask the model that `said` names for all its points at once; nothing before anything has a score."""
        results = seen.results
        if not results.known or not len(self._columns):
            return []
        begun = [self._columns.encode(self._start(index)[2]) for index in indices if index not in modelled]
        rows = np.array([*seen.pending, *begun]).reshape(len(seen.pending) + len(begun), len(self._columns))
        rng = self._random(indices.start, salt=MODEL_SALT)
        engine, wanted = self._engines[said["sampler"]], len(modelled)
        found = engine.propose(results, rows, rng, wanted, self._accept())
        suggested: list[Candidate] = [("model", said | _gain(each), self._columns.decode(each.row)) for each in found]
        if len(found) == wanted or not self._plan.constraints:
            return suggested
        # Where the constraints leave so little room that no row keeps them, the best ones are moved into them.
        free = engine.propose(results, rows, self._random(indices.start, salt=MODEL_SALT + 1), wanted, lambda _: True)
        moved = {**said, "sampler": f"{said['sampler']}, moved into the constraints"}
        return suggested + [
            ("model", moved, mend(self._plan, self._columns.decode(each.row), Draws(self._seed, index, salt=MEND_SALT)))
            for index, each in zip(modelled[len(found) :], free[len(found) :], strict=False)
        ]

    def _chosen(self, results: int) -> tuple[str, str]:
        """Return the model that suggests after so many results, pending ones included, and why it does."""
        if self._wanted == "gp" and results > _MOST_EVER:
            return "tpe", f"{results} results, more than {_MOST_EVER}, which are too many for gp"
        if self._wanted != "auto":
            return self._wanted, "search.model"
        if len(self._columns) > _MOST_COLUMNS:
            return "tpe", f"{len(self._columns)} parameters, more than {_MOST_COLUMNS}"
        if results > _MOST_RESULTS:
            return "tpe", f"{results} results, more than {_MOST_RESULTS}"
        return "gp", f"{results} results, up to {_MOST_RESULTS}"

    def _accept(self) -> Accept:
        """Return the test of one call: a row must keep the constraints, and be new where there are only so many."""
        taken: set[str] = set()

        def accept(row: Matrix) -> bool:
            if self._taken.points is None and not self._plan.constraints:
                return True
            point = self._columns.decode(row)
            if not satisfies(self._plan, point):
                return False
            key = dedupe_key(point) if self._taken.points is not None else None
            new = key is None or (key not in self._taken and key not in taken)
            taken.update({key} if key is not None else ())
            return new

        return accept

    def _settled(self, index: int, first: Candidate, why: dict[str, Any]) -> Suggestion:
        """Take the candidate, or where its point was tried before another one that was not."""
        left = self._taken.points is not None and not self._taken.all
        candidates = self._candidates(index, first)
        chosen = kept = next(candidates)
        while left and dedupe_key(chosen[2]) in self._taken:
            found = next(candidates, None)
            if found is None:  # every candidate was tried before: let the first stand
                chosen, left = kept, False
            else:
                chosen = found
        origin, more, params = chosen
        key = dedupe_key(params) if left else None
        return Suggestion(params=params, origin=origin, why={"draw": index, **why, **more}, dedupe_key=key)

    def _candidates(self, index: int, first: Candidate) -> Iterator[Candidate]:
        yield first
        origin = "startup" if index < self._startup else "random"
        for how, point in fallback_points(self._plan, self._taken.points, seed=self._seed, index=index):
            yield (origin if how == "random" else "random"), {"sampler": how}, point

    def _random(self, index: int, *, salt: int) -> np.random.Generator:
        """Return the generator that belongs to this seed, index and purpose."""
        return np.random.Generator(np.random.Philox(key=[self._seed, (salt << 48) | index]))
