"""What many races come to: median regrets, ranks, and whether a difference is more than luck."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median
from typing import TypeAlias

from scipy.stats import rankdata, wilcoxon

from benchmarks.quality.race import LOOKS, Entry

Regrets: TypeAlias = Mapping[Entry, Sequence[float]]
_WORST = 1e9  # stands for infinity where logarithms are compared
_LEAST = 1e-9


def medians(regrets: Regrets) -> dict[tuple[str, int, str], list[float]]:
    """Return by (problem, parallel, sampler) the median regret over the seeds at each look."""
    gathered: dict[tuple[str, int, str], list[Sequence[float]]] = defaultdict(list)
    for entry, found in regrets.items():
        gathered[entry.problem, entry.parallel, entry.sampler].append(found)
    return {key: [median(column) for column in zip(*rows, strict=True)] for key, rows in gathered.items()}


def ranks(regrets: Regrets, problems: Iterable[str]) -> dict[str, float]:
    """Return each sampler's mean rank by median regret, 1 the best, over problems, ways to run them, and looks."""
    found, wanted = medians(regrets), set(problems)
    samplers = sorted({sampler for _, _, sampler in found})
    places: dict[str, list[float]] = {sampler: [] for sampler in samplers}
    for name, parallel in sorted({(name, parallel) for name, parallel, _ in found if name in wanted}):
        rows = [found.get((name, parallel, sampler)) for sampler in samplers]
        if any(row is None for row in rows):
            continue
        for look in range(len(LOOKS)):
            order = rankdata([row[look] for row in rows if row is not None])
            for sampler, place in zip(samplers, order, strict=True):
                places[sampler].append(float(place))
    return {sampler: mean(found) for sampler, found in places.items() if found}


def behind(regrets: Regrets, problems: Iterable[str], ours: str, theirs: str) -> float | None:
    """Return the p value of the claim that we are not behind: small means that we are.

    Wilcoxon's signed-rank test over all problems and seeds that both ran, of the differences between the logarithms of
    their regrets at the last look, one-sided.
    """
    wanted = set(problems)
    differences = [
        _log(found[-1]) - _log(regrets[other][-1])
        for entry, found in regrets.items()
        if entry.sampler == ours and entry.problem in wanted
        if (other := Entry(entry.problem, theirs, entry.seed, entry.parallel)) in regrets
    ]
    if not any(differences):
        return None
    return float(wilcoxon(differences, alternative="greater").pvalue)


def _log(regret: float) -> float:
    return math.log(min(max(regret, _LEAST), _WORST))
