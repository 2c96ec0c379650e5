"""How often a verdict is right: `python -m benchmarks.verdict --json`.

Studies are simulated: each value of a finalist or of the baseline is a mean and noise of standard deviation 1, normal,
or of a skewed and heavy-tailed kind (a shifted log-normal, as losses are). The judge is the one of the service.

- `equal`: all have the same mean. How often is `improved` said? At most 5 %.
- `two deviations`: one finalist is better by two standard deviations of a single run. How often is it found?
- `two or more errors`: it is better by two standard errors of the difference of means or more, drawn evenly from 2 to 6 of them.
- `two errors`: by exactly two. No test that is wrong in 5 % finds that more often than in 63.9 % (Neyman and Pearson, noise
  known), so nothing is promised; it is shown beside that bound.

The same is asked of pairs of configurations from the recorded tables, by the runs that they had (`verdict_tables`).
"""

import argparse
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.promises import Promise, line, show, table
from benchmarks.verdict_tables import Recorded, recorded
from search.analysis.verdict import Sample, judge
from search.definition.verdicts import Verdict

STUDIES = {"quick": 4_000, "standard": 20_000, "full": 200_000}
CONFIDENCE = 0.95
BOUND = 0.6388  # P(Z > 1.645 - 2)
Noise = Callable[[random.Random], float]
Shift = Callable[[random.Random, int], float]


def normal(draws: random.Random) -> float:
    """Draw from the standard normal distribution."""
    return draws.gauss(0.0, 1.0)


def skewed(draws: random.Random) -> float:
    """Draw from a log-normal distribution (sigma 0.5), shifted and scaled to mean 0 and deviation 1."""
    sigma = 0.5
    mean = math.exp(sigma**2 / 2)
    return (draws.lognormvariate(0.0, sigma) - mean) / (mean * math.sqrt(math.expm1(sigma**2)))


def _errors(least: float, most: float) -> Shift:
    """Differences in standard errors of the difference of two means of `replicates` runs each."""
    return lambda draws, replicates: draws.uniform(least, most) * math.sqrt(2 / replicates)


NOISES: Mapping[str, Noise] = {"normal": normal, "skewed": skewed}
SHIFTS: Mapping[str, Shift] = {
    "equal": lambda draws, replicates: 0.0,  # noqa: ARG005  one signature for all
    "two deviations": lambda draws, replicates: 2.0,  # noqa: ARG005
    "two or more errors": _errors(2, 6),
    "two errors": _errors(2, 2),
}
DEFAULT = Verdict()
PLANS: Mapping[str, tuple[int, int]] = {
    "default": (DEFAULT.finalists, DEFAULT.replicates),
    "3 runs": (1, 3),
    "3 finalists, 6 runs": (3, 6),
}


@dataclass(frozen=True, slots=True)
class Rate:
    """How often `improved` was said."""

    plan: str
    noise: str
    shift: str
    value: float


def rate(draws: random.Random, plan: tuple[int, int], noise: Noise, shift: Shift, *, studies: int) -> float:
    """Simulate studies; return the share that says improved."""
    finalists, replicates = plan

    def sample(mean: float) -> Sample:
        return Sample([mean + noise(draws) for _ in range(replicates)])

    improved = 0
    for _ in range(studies):
        others = [sample(0.0) for _ in range(finalists - 1)]
        runs = [sample(-shift(draws, replicates)), *others]
        improved += judge(runs, sample(0.0), maximize=False, confidence=CONFIDENCE).verdict == "improved"
    return improved / studies


def rates(studies: int, *, seed: int = 1) -> list[Rate]:
    """Simulate every plan with every noise and difference."""
    return [
        Rate(
            plan,
            noise,
            shift,
            rate(random.Random(f"{seed} {plan} {noise} {shift}"), PLANS[plan], make, by, studies=studies),
        )
        for plan in PLANS
        for noise, make in NOISES.items()
        for shift, by in SHIFTS.items()
    ]


def promises(found: Sequence[Rate], on_tables: Sequence[Recorded]) -> list[Promise]:
    """Say what is promised of the default plan, and of no plan that equals are improved."""
    power = {each.shift: each.value for each in found if (each.plan, each.noise) == ("default", "normal")}
    wrong = [each.value for each in found if each.shift == "equal" and each.noise == "normal"]
    return [
        Promise("equals called improved, normal noise, worst plan", max(wrong), 0.05, at_most=True),
        Promise("a difference of two deviations of a run found, default plan", power["two deviations"], 0.8),
        Promise("differences of two standard errors or more found, default plan", power["two or more errors"], 0.8),
        Promise("recorded tables: equals called improved, worst", max(e.equal for e in on_tables), 0.05, at_most=True),
        Promise("recorded tables: two standard errors or more found, worst", min(e.apart for e in on_tables), 0.8),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdict", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", action="store_true", help="end with a line for programs")
    given = parser.parse_args(arguments)
    studies = STUDIES["quick" if given.quick else "full" if given.full else "standard"]
    found = rates(studies)
    rows = [(each.plan, each.noise, each.shift, f"{each.value:.4f}") for each in found]
    print(table(("plan", "noise", "difference", "improved"), rows))
    print(f"no test at 5 % finds exactly two standard errors of the difference more often than in {BOUND}")
    on_tables = recorded(DEFAULT.replicates, studies, confidence=CONFIDENCE)
    print(table(("table", "equal", "apart"), [(e.table, f"{e.equal:.4f}", f"{e.apart:.4f}") for e in on_tables]))
    kept = promises(found, on_tables)
    print(show(kept))
    if given.json:
        print(line("verdict", kept, studies=studies, rates=[[r.plan, r.noise, r.shift, r.value] for r in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
