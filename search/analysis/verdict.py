"""Is the best configuration better than a baseline? From runs on fresh seeds, never from the scores of the search.

What the search calls best is partly luck (the winner's curse), so finalists and baseline are run again. The winner is
the finalist with the best mean of its replicates; it is compared with the baseline by Welch's t test (B. L. Welch,
"The generalization of Student's problem when several different population variances are involved", 1947). Since the
winner is chosen among m finalists by the same runs, the test is at (1 - confidence) / m (Bonferroni).

What holds, for independent and about normal values:
- Where no finalist is better than the baseline, `improved` comes out with probability 1 - confidence at most.
- Each bound of the interval holds with the confidence stated, and the interval excludes 0 exactly where the verdict is
  not `not distinguishable`.
- A difference of two standard deviations of a single run is found by the default five replicates of one finalist in
  88 % of studies. One of two standard errors of the *difference of means* no test at 5 % finds more often than in
  64 % (Neyman and Pearson): `benchmarks/verdict.py` measures both.

A replicate that diverged, or broke a constraint of the study, disqualifies its finalist. One that failed or was cancelled is missing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, variance
from typing import Literal

from search.analysis.student import quantile

Answer = Literal["improved", "not distinguishable", "worse"]
UNDECIDED: Answer = "not distinguishable"
_LEAST = 2  # values without which there is no variance


@dataclass(frozen=True, slots=True)
class Sample:
    """A configuration's replicates: the values of those that completed, and how many diverged or broke a constraint."""

    values: Sequence[float]
    diverged: int = 0

    @property
    def mean(self) -> float | None:
        """The mean of the values, or None without any."""
        return mean(self.values) if self.values else None

    @property
    def fit(self) -> bool:
        """Whether it can win: it never diverged, and there are enough values to compare."""
        return not self.diverged and len(self.values) >= _LEAST


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer. `winner` is the place of a finalist; `difference` is winner minus baseline, in the metric's units.

    Each bound of `interval` holds with the confidence asked for. All three are None where there was nothing to compare.
    """

    verdict: Answer
    reason: str
    winner: int | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = field(default=None)


def judge(finalists: Sequence[Sample], baseline: Sample, *, maximize: bool, confidence: float) -> Judgement:
    """Compare the best of the finalists with the baseline."""
    fit = [place for place, sample in enumerate(finalists) if sample.fit]
    if not fit:
        return Judgement(UNDECIDED, _nobody(finalists))
    sign = 1 if maximize else -1
    winner = max(fit, key=lambda place: sign * mean(finalists[place].values))
    level = (1 - confidence) / len(finalists)
    if len(baseline.values) < _LEAST:
        return _without_baseline(finalists[winner], winner, baseline, level)
    difference, margin = _welch(finalists[winner].values, baseline.values, level)
    interval = difference - margin, difference + margin
    if not all(map(math.isfinite, interval)):
        return Judgement(
            UNDECIDED, "the values are too large: no number holds their difference and its interval", winner
        )
    gain = sign * difference
    verdict: Answer = "improved" if gain > margin else "worse" if -gain > margin else UNDECIDED
    return Judgement(verdict, _reason(verdict, difference, interval), winner, difference, interval)


def _welch(first: Sequence[float], second: Sequence[float], level: float) -> tuple[float, float]:
    """Return the difference of the means, and how far from it the true one lies with probability `level` on each side.

    Infinite is what no number holds.
    """
    # Squares of very large or small values are no floats; those of values below 2 are, and halving is exact.
    scale = 2.0 ** (math.frexp(max(map(abs, [*first, *second])))[1] - 1)
    first, second = ([value / scale for value in sample] for sample in (first, second))
    parts = variance(first) / len(first), variance(second) / len(second)
    difference, squared = mean(first) - mean(second), sum(parts)
    if squared == 0:
        return difference * scale, 0.0
    shares = parts[0] / squared, parts[1] / squared
    freedom = 1 / (shares[0] ** 2 / (len(first) - 1) + shares[1] ** 2 / (len(second) - 1))
    return difference * scale, quantile(1 - level, freedom) * math.sqrt(squared) * scale


def _without_baseline(sample: Sample, winner: int, baseline: Sample, level: float) -> Judgement:
    """A baseline that always diverges is beaten by one that never does, if that is not likely to be chance (Fisher)."""
    runs, others = len(sample.values), len(baseline.values) + baseline.diverged
    chance = 1 / math.comb(runs + others, others)
    if baseline.diverged == others > 0 and chance <= level:
        reason = f"the baseline diverged or broke a constraint in all of {others} runs, the winner in none of {runs}"
        return Judgement("improved", reason, winner)
    reason = (
        f"the baseline has {len(baseline.values)} values, and {baseline.diverged} runs diverged or broke a constraint: "
        "nothing to compare with"
    )
    return Judgement(UNDECIDED, reason, winner)


def _nobody(finalists: Sequence[Sample]) -> str:
    if not finalists:
        return "no configuration besides the baseline has completed and kept the constraints, so nothing was run again"
    unstable = sum(sample.diverged > 0 for sample in finalists)
    return f"no finalist can be compared: {unstable} of {len(finalists)} diverged or broke a constraint on a fresh seed, the others lack values"


def _reason(verdict: Answer, difference: float, interval: tuple[float, float]) -> str:
    low, high = interval
    bounds = f"[{low:.5g}, {high:.5g}]"
    if verdict == UNDECIDED:
        return f"the difference {difference:.5g} may be chance: its interval {bounds} holds 0"
    return f"the difference {difference:.5g} is more than chance: its interval {bounds} excludes 0"
