"""Verdicts on recorded training: pairs of configurations whose runs are drawn from those that the tables hold.

A run is one of a point's recorded final losses, drawn with its like as often as another. A pair is equal where both sides
draw from one point, and differs by two standard errors or more where the means of two points do, for as many runs.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance

from benchmarks.tables.table import Table, finals, load, names
from search.analysis.verdict import Sample, judge

_APART = 2.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """How often `improved` was said on one table, of equal pairs and of pairs two standard errors apart or more."""

    table: str
    equal: float
    apart: float


def recorded(replicates: int, studies: int, *, confidence: float, seed: int = 1) -> list[Recorded]:
    """Judge so many pairs of either kind on every table."""
    return [_judged(name, replicates, studies, confidence, random.Random(f"{seed} {name}")) for name in names()]


def _judged(name: str, replicates: int, studies: int, confidence: float, draws: random.Random) -> Recorded:
    points = _points(load(name))

    def improved(better: Sequence[float], worse: Sequence[float]) -> bool:
        winner, baseline = (Sample(draws.choices(runs, k=replicates)) for runs in (better, worse))
        return judge([winner], baseline, maximize=False, confidence=confidence).verdict == "improved"

    equal = sum(improved(point, point) for point in draws.choices(points, k=studies))
    apart = sum(improved(*_pair(points, replicates, draws)) for _ in range(studies))
    return Recorded(name, equal / studies, apart / studies)


def _points(table: Table) -> list[list[float]]:
    """Return the runs of each point of the better half, where all runs came to something and not to the same."""
    order = table.means.argsort()[: len(table.means) // 2]
    runs = finals(table.curves)[order].tolist()
    return [point for point in runs if all(map(math.isfinite, point)) and len(set(point)) == len(point)]


def _pair(points: Sequence[list[float]], replicates: int, draws: random.Random) -> tuple[list[float], list[float]]:
    """Draw two points whose means are two standard errors apart or more; the better one first."""
    while True:
        better, worse = sorted(draws.sample(points, 2), key=fmean)
        error = math.sqrt((pvariance(better) + pvariance(worse)) / replicates)
        if fmean(worse) - fmean(better) >= _APART * error:
            return better, worse
