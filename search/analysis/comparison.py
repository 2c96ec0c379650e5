"""Methods side by side: what each choice of one parameter comes to at its best configuration, over repeated runs.

Trials that differ in `repeat` alone, or in nothing but their seed, are runs of one configuration. Of each choice the
configuration is shown whose mean of the optimized metric is best, among those that were run most often. Values are means
with 95 % intervals by Student's t; ratios to the baseline's have intervals by the delta method on the logarithm. A
configuration of which a run diverged or failed is never the best of one that has none.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.analysis import student

REPEAT = "repeat"
_TAIL = 0.975


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished trial: its parameters, how it ended, its values, and its score, lower for better; None without one."""

    params: Mapping[str, Any]
    state: str
    values: Mapping[str, float]
    score: float | None


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over `runs` with its interval, which is None of a single run."""

    mean: float
    low: float | None
    high: float | None
    runs: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One choice at its best configuration: how many of its runs completed, and what they came to; `ratios` to the baseline."""

    choice: Any
    params: Mapping[str, Any]
    runs: int
    completed: int
    values: Mapping[str, Mean]
    ratios: Mapping[str, Mean]


def compared(trials: Iterable[Ran], *, by: str, baseline: object) -> list[Compared]:
    """Compare the choices of the parameter `by`, the best first; ratios are to the choice `baseline`, if it is there."""
    best = {choice: _best(groups) for choice, groups in _grouped(trials, by).items()}
    means = {choice: _means(runs) for choice, runs in best.items()}
    base, based = means.get(_key(baseline), {}), _completed(best.get(_key(baseline), []))
    rows = [
        Compared(
            choice=runs[0].params[by],
            params=_configuration(runs[0]),
            runs=len(runs),
            completed=_completed(runs),
            values=means[choice],
            ratios={
                name: ratio(mean, base[name])
                for name, mean in means[choice].items()
                if mean.runs == _completed(runs) and _comparable(mean, base.get(name), most=based)
            },
        )
        for choice, runs in best.items()
    ]
    return sorted(rows, key=lambda row: _rank(best[_key(row.choice)]))


def mean_of(values: Sequence[float]) -> Mean:
    """Return a mean and its interval."""
    count, mean = len(values), math.fsum(values) / len(values)
    if count == 1:
        return Mean(mean, None, None, 1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    reach = student.quantile(_TAIL, count - 1) * deviation / math.sqrt(count)
    return Mean(mean, mean - reach, mean + reach, count)


def ratio(mean: Mean, base: Mean) -> Mean:
    """Return the ratio of two positive means with its interval."""
    found = mean.mean / base.mean
    spreads = [_relative(each) for each in (mean, base)]
    if any(spread is None for spread in spreads):
        return Mean(found, None, None, min(mean.runs, base.runs))
    reach = math.exp(math.hypot(*(spread or 0.0 for spread in spreads)))
    return Mean(found, found / reach, found * reach, min(mean.runs, base.runs))


def _relative(mean: Mean) -> float | None:
    return None if mean.high is None else (mean.high - mean.mean) / mean.mean


def _comparable(mean: Mean, base: Mean | None, *, most: int) -> bool:
    """Say whether there is a ratio: of positive means, and of what all runs came to, such as a target that all reached."""
    return base is not None and base.runs == most and base.mean > 0 and mean.mean > 0


def _completed(runs: Sequence[Ran]) -> int:
    return sum(run.state == "completed" for run in runs)


def _grouped(trials: Iterable[Ran], by: str) -> dict[str, list[list[Ran]]]:
    """Return the runs of each configuration, by choice."""
    configurations: dict[str, list[Ran]] = defaultdict(list)
    for trial in trials:
        if by in trial.params:
            configurations[json.dumps(_configuration(trial), sort_keys=True)].append(trial)
    found: dict[str, list[list[Ran]]] = defaultdict(list)
    for runs in configurations.values():
        found[_key(runs[0].params[by])].append(runs)
    return found


def _best(groups: Sequence[list[Ran]]) -> list[Ran]:
    most = max(len(runs) for runs in groups)
    return min((runs for runs in groups if len(runs) == most), key=_rank)


def _rank(runs: Sequence[Ran]) -> tuple[float, float]:
    scores = [run.score for run in runs if run.state == "completed" and run.score is not None]
    return 1 - len(scores) / len(runs), math.fsum(scores) / len(scores) if scores else math.inf


def _means(runs: Sequence[Ran]) -> dict[str, Mean]:
    """Return the mean of what each completed run reported; some report what others do not, such as a target reached."""
    found: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for name, value in run.values.items() if run.state == "completed" else ():
            found[name].append(value)
    return {name: mean_of(values) for name, values in found.items()}


def _configuration(trial: Ran) -> dict[str, Any]:
    return {name: value for name, value in trial.params.items() if name != REPEAT}


def _key(choice: object) -> str:
    return json.dumps(choice, sort_keys=True)
