"""How much each parameter matters, by Optuna's evaluators: PED-ANOVA and fANOVA.

Both look at completed trials alone, each parameter on its own scale (log, reverse_log) as the search sees it.

PED-ANOVA compares where the best tenth lies with where all lie (Watanabe et al., 2023); a conditional parameter counts by
how often it is among the best, too (Conditional PED-ANOVA, 2026). It takes every trial.

fANOVA fits a forest and splits its variance (Hutter et al., 2014). Its cost grows with the square of the trials, so it is
given a seeded sample of at most SAMPLE, fewer where there are several groups of parameters that are active together. A
conditional parameter is judged among the trials in which it is active, beside the parameters that all of those have; its
share of their variance counts by what they contribute to the variance of all (the law of total variance).
"""

import math
import random
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from search.analysis.codings import Coding, Finished, coding
from search.analysis.table import Importance, ImportanceRecord, Observation
from search.space.parameters import Parameter
from search.space.plan import plan

SAMPLE = 200
TREES = 10

# Optuna announces every study it makes; ours are scratch. That few trials know a parameter is said by `trials`.
optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", message="Some regimes for parameter")


@dataclass(frozen=True, slots=True)
class _Axis:
    """A parameter as an evaluator sees it; `place` returns None for a value outside the space."""

    distribution: BaseDistribution
    place: Callable[[object], float | int | None]


def ped_anova(space: Mapping[str, Parameter], observations: Sequence[Observation], *, seed: int) -> Importance:
    """Judge every parameter over all trials; `seed` changes nothing."""
    del seed
    axes = _axes(space)
    trials = _trials(axes, observations)
    found = _evaluate(PedAnovaImportanceEvaluator(), trials)
    active = {name: sum(name in trial.params for trial in trials) for name in axes}
    return Importance(_records({name: (found.get(name, 0.0), active[name]) for name in axes}), used=len(trials))


def fanova(space: Mapping[str, Parameter], observations: Sequence[Observation], *, seed: int) -> Importance:
    """Judge each group of parameters that are active together over a sample of the trials that have them."""
    axes = {name: _by_length(axis) for name, axis in _axes(space).items()}
    trials = _trials(axes, observations)
    groups = _groups(axes, trials)
    most = int(SAMPLE / math.sqrt(max(1, len(groups))))
    judged: dict[str, tuple[float, int]] = dict.fromkeys(axes, (0.0, 0))
    used: set[int] = set()
    whole = _spread(trials)
    for places, names in groups.items():
        weight = _spread([trials[place] for place in places]) / whole if whole > 0 else 0.0
        chosen = sorted(random.Random(seed).sample(sorted(places), min(most, len(places))))
        used |= set(chosen)
        evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=seed % 2**32)
        found = _evaluate(evaluator, [trials[place] for place in chosen])
        judged |= {name: (weight * found.get(name, 0.0), len(chosen)) for name in names}
    return Importance(_records(judged), used=len(used))


def _axes(space: Mapping[str, Parameter]) -> dict[str, _Axis]:
    return {node.name: _on_scale(coding(node.parameter)) for node in plan(space).nodes}


def _on_scale(code: Coding) -> _Axis:
    """Lay a log scale out linearly: an evaluator may measure a range by its length."""
    distribution = code.distribution
    if not isinstance(distribution, FloatDistribution | IntDistribution) or not distribution.log:
        return _Axis(distribution, code.encode)  # type: ignore[arg-type]

    def place(value: object) -> float | None:
        coded = code.encode(value)  # type: ignore[arg-type]
        return None if coded is None else math.log(coded)

    return _Axis(FloatDistribution(math.log(distribution.low), math.log(distribution.high)), place)


def _by_length(axis: _Axis) -> _Axis:
    """Lay places in a list or lattice side by side, each as long as any other.

    By itself Optuna makes a column of each choice and goes through all their combinations: 2^20 for 20 choices.
    """
    distribution = axis.distribution
    if isinstance(distribution, CategoricalDistribution):
        return _Axis(FloatDistribution(-0.5, len(distribution.choices) - 0.5), axis.place)
    if isinstance(distribution, IntDistribution):
        return _Axis(FloatDistribution(distribution.low - 0.5, distribution.high + 0.5), axis.place)
    return axis


def _trials(axes: Mapping[str, _Axis], observations: Iterable[Observation]) -> list[FrozenTrial]:
    """Translate the trials; one with a value outside the space is left out."""
    made: list[FrozenTrial] = []
    for observation in observations:
        params = {name: axes[name].place(value) for name, value in observation.params.items() if name in axes}
        if None not in params.values():
            made.append(_trial(len(made), params, axes, observation.score))
    return made


def _trial(number: int, params: dict[str, Any], axes: Mapping[str, _Axis], score: float) -> FrozenTrial:
    # Not by `create_trial`, which checks every value and takes as long for it as the evaluators take for all else.
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState.COMPLETE,
        value=score,
        datetime_start=None,
        datetime_complete=None,
        params=params,
        distributions={name: axes[name].distribution for name in params},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def _groups(axes: Mapping[str, _Axis], trials: Sequence[FrozenTrial]) -> dict[frozenset[int], list[str]]:
    """Return the parameters by the places of the trials in which they are active; those never active are absent."""
    groups: dict[frozenset[int], list[str]] = {}
    for name in axes:
        active = frozenset(place for place, trial in enumerate(trials) if name in trial.params)
        if active:
            groups.setdefault(active, []).append(name)
    return groups


def _spread(trials: Sequence[FrozenTrial]) -> float:
    """Return the sum of squared distances of the values from their mean."""
    values = np.array([trial.value for trial in trials])
    return float(((values - values.mean()) ** 2).sum()) if trials else 0.0


def _evaluate(
    evaluator: PedAnovaImportanceEvaluator | FanovaImportanceEvaluator, trials: Sequence[FrozenTrial]
) -> dict[str, float]:
    """Ask Optuna; empty where the trials do not differ, in value or in parameters, so that nothing can be told."""
    if len({trial.value for trial in trials}) < 2:
        return {}
    study = optuna.create_study(storage=Finished(trials), direction="minimize")
    try:
        found = evaluator.evaluate(study)
    except RuntimeError:  # fANOVA: no tree of the forest has any variance
        return {}
    return {name: float(value) for name, value in found.items()}


def _records(judged: Mapping[str, tuple[float, int]]) -> tuple[ImportanceRecord, ...]:
    """Turn what was found into shares that sum to 1, the largest first."""
    total = sum(value for value, _ in judged.values())
    shares = [
        ImportanceRecord(name, value / total if total > 0 else 0.0, trials) for name, (value, trials) in judged.items()
    ]
    return tuple(sorted(shares, key=lambda record: (-record.importance, record.parameter)))
