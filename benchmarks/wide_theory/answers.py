"""The answer to a question: what was measured, as a table, and the powers in it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.promises import table
from benchmarks.wide_theory.runs import Values
from benchmarks.wide_theory.slopes import Slope


@dataclass(frozen=True, slots=True)
class Answer:
    """A table, the slopes that were fitted (None where points were too few), and what theory says of them."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    slopes: Mapping[str, Slope | None] = field(default_factory=dict)
    theory: str = ""

    def __str__(self) -> str:
        """Write it for people."""
        fitted = [f"{name}: {'not measured' if slope is None else slope}" for name, slope in self.slopes.items()]
        theory = [f"theory: {self.theory}"] if self.theory else []
        return "\n".join([self.title, table(self.heads, self.rows), *fitted, *theory])


def middle(runs: Sequence[Sequence[Values]], name: str) -> float:
    """Return the median over runs of what each reported last."""
    return statistics.median(run[-1][name] for run in runs)


def mean(runs: Sequence[Sequence[Values]], name: str) -> float:
    """Return the mean over runs and their epochs."""
    return statistics.fmean(values[name] for run in runs for values in run)
