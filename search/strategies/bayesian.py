"""Model-based search: Optuna's tree-structured Parzen estimator, in memory, behind our two verbs.

Every suggestion is made by a fresh sampler seeded by (seed, draw index), over the trials known; so it depends only on the
seed, the draw index, the finished trials and the pending ones. `why` records them: `cutoff`, the last `seq` seen;
`pending`, the numbers of the trials that were under way; `batch`, the first draw index of the call, since the points of
one call know of each other. Suggesting `range(batch, draw + 1)` again over that history gives the same point.

Unconditional parameters are modelled together, conditional ones each by itself over the trials that have it. The first
`startup` draw indices are random points. On a wholly discrete space a point is not suggested twice while others are left:
the sampler is asked a few times more, then random draws, then the remaining points in shuffled order.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import optuna
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.definition.schema import StudyDefinition
from search.definition.searches import BayesianSearch
from search.records import Suggestion, TrialRecord
from search.space.fallback import fallback_points
from search.space.parameters import Point, Value
from search.space.plan import Node, dedupe_key, discrete, fill, is_discrete, plan
from search.space.sampling import MODEL_SALT, Draws
from search.strategies.history import Codebook, History

# Optuna announces every study it makes; ours are scratch.
optuna.logging.set_verbosity(optuna.logging.WARNING)

_MODEL_TRIES = 4
_MATES = 2**62  # trial numbers from here on stand for the points of the call under way


class Bayesian:
    """Tree-structured Parzen estimator over everything told so far."""

    reads_history = True

    def __init__(self, definition: StudyDefinition, seed: int) -> None:
        if not isinstance(definition.search, BayesianSearch):
            raise TypeError("not a bayesian study")
        self._seed = seed
        self._startup = definition.search.startup
        self._plan = plan(definition.space)
        self._codes = Codebook(self._plan)
        self._joint = self._codes.joint(self._plan)
        self._history = History()
        self._study = optuna.create_study(storage=self._history, direction="minimize")
        self._cutoff = 0
        self._pending: set[int] = set()
        self._points = discrete(self._plan) if is_discrete(self._plan) else None
        self._size = None if self._points is None else self._points.count()
        self._tried: dict[int, str] = {}  # trial number -> key of its point, on a discrete space
        self._times: Counter[str] = Counter()

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Take in changed trials; work is in proportion to them, not to the history."""
        for trial in trials:
            self._cutoff = max(self._cutoff, trial.seq)
            evidence = self._codes.evidence(trial)
            self._history.put(trial.number, evidence)
            if evidence is not None and evidence.state == TrialState.RUNNING:
                self._pending.add(trial.number)
            else:
                self._pending.discard(trial.number)
            if self._size is not None:
                self._try(trial.number, None if trial.params is None else dedupe_key(trial.params))

    def suggest(self, indices: range) -> list[Suggestion]:
        """Return one point for each draw index."""
        mates = [_MATES + index for index in indices]
        suggestions = []
        for index, mate in zip(indices, mates, strict=True):
            suggestion = self._suggest(index, indices.start)
            suggestions.append(suggestion)
            self._history.put(mate, self._codes.trial(mate, suggestion.params, state=TrialState.RUNNING))
            self._try(mate, suggestion.dedupe_key)
        for mate in mates:
            self._history.put(mate, None)
            self._try(mate, None)
        return suggestions

    def _suggest(self, index: int, batch: int) -> Suggestion:
        startup = index < self._startup
        why = {"draw": index, "batch": batch, "cutoff": self._cutoff, "pending": sorted(self._pending)}
        left = self._size is not None and len(self._times) < self._size
        candidates = self._candidates(index, startup=startup)
        origin, sampler, params = next(candidates)
        key = dedupe_key(params) if left else None
        while key is not None and key in self._times:
            origin, sampler, params = next(candidates, (origin, sampler, {}))
            key = dedupe_key(params) if params else None
        if not params:  # every candidate was tried before: let the first stand
            origin, sampler, params = next(self._candidates(index, startup=startup))
        return Suggestion(params=params, origin=origin, why={**why, "sampler": sampler}, dedupe_key=key)

    def _candidates(self, index: int, *, startup: bool) -> Iterator[tuple[str, str, Point]]:
        """Yield (origin, sampler, point) from the most wanted to the last resort."""
        if not startup:
            for attempt in range(_MODEL_TRIES):
                yield "model", "tpe", self._model(index, attempt)
        for how, point in fallback_points(self._plan, self._points, seed=self._seed, index=index):
            yield "startup" if startup and how == "random" else "random", how, point

    def _model(self, index: int, attempt: int) -> Point:
        seed = Draws(self._seed, index, salt=MODEL_SALT + attempt).below(2**32)
        # With a constant liar the sampler reads the storage afresh; without, it would keep what it read first.
        sampler = TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)
        trial = create_trial(state=TrialState.RUNNING)
        trial.number = 2 * _MATES
        joint = sampler.sample_relative(self._study, trial, self._joint) if self._joint else {}

        def choose(node: Node) -> Value:
            coding = self._codes[node.name]
            if node.name in joint:
                return coding.decode(joint[node.name])
            if coding.distribution.single():
                return self._codes.only(node)
            return coding.decode(self._alone(sampler, trial, node))

        return fill(self._plan, choose)

    def _alone(self, sampler: TPESampler, trial: FrozenTrial, node: Node) -> int | float:
        distribution = self._codes[node.name].distribution
        value: int | float = sampler.sample_independent(self._study, trial, node.name, distribution)
        return value

    def _try(self, number: int, key: str | None) -> None:
        old = self._tried.pop(number, None)
        if old is not None:
            self._times[old] -= 1
            if not self._times[old]:
                del self._times[old]
        if key is not None:
            self._tried[number] = key
            self._times[key] += 1
