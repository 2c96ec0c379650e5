"""Pruning by kind: when a decision is due, who goes on, and the words that are stored with a stop.

There are two sorts of rules. One *compares* scores (lower is better) of the trials that reached the same rung, a step
within a bracket: of `size` scores the best `keep` go on; a score equal to the last of those goes on as well. The other
looks at a trial *alone*, at what it has measured so far. Patience is of the second sort, and may have one of the first
inside; then both must agree.

How trials rank is no business of a rule: where several losses are compared, `search.pruners.ranking` says who is better.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.definition.parse import StudyDefinition
from search.definition.prunings import Pruning, ThresholdPruning, comparing, promotes
from search.pareto import Losses
from search.pruners import asha, hyperband, patience, percentile, threshold
from search.pruners.ranking import Standing
from search.scoring import losses


def _no_bracket(pruning: Pruning, number: int, seed: int) -> int:
    del pruning, number, seed
    return 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One kind of rule that compares: pure functions of its settings."""

    rung: Callable[[Any, int, int], bool]
    rungs: Callable[[Any, int], list[int]]
    keep: Callable[[Any, int], int]
    bracket: Callable[[Any, int, int], int] = _no_bracket


@dataclass(frozen=True, slots=True)
class Solitary:
    """One kind of rule that looks at a trial alone. `verdict` gets its measurements so far; with `latest` the last is enough."""

    rung: Callable[[Any, int], bool]
    verdict: Callable[[Any, Sequence[float]], str | None]
    latest: bool


COMPARISONS: Mapping[str, Comparison] = {
    "asha": Comparison(rung=asha.rung, rungs=asha.rungs, keep=asha.keep),
    "hyperband": Comparison(rung=hyperband.rung, rungs=hyperband.rungs, keep=hyperband.keep, bracket=hyperband.bracket),
    "median": Comparison(rung=percentile.rung, rungs=percentile.rungs, keep=percentile.keep),
    "percentile": Comparison(rung=percentile.rung, rungs=percentile.rungs, keep=percentile.keep),
}
SOLITARY: Mapping[str, Solitary] = {
    # Every measurement counts.
    "patience": Solitary(rung=lambda _, step: step > 0, verdict=patience.verdict, latest=False),
    "threshold": Solitary(rung=threshold.rung, verdict=threshold.verdict, latest=True),
}


def rung(pruning: Pruning, step: int, *, last: int | None = None, bracket: int = 0) -> bool:
    """Say whether pruning looks at `step` (from 1). Never at `last`: who has finished cannot be stopped any more."""
    if last is not None and step >= last:
        return False
    alone = SOLITARY.get(pruning.kind)
    return alone.rung(pruning, step) if alone is not None else compares_at(pruning, step, bracket=bracket)


def rungs(pruning: Pruning | None, *, last: int) -> list[int]:
    """Return the steps at which pruning looks at trials, of whatever bracket, that finish with step `last`; none unpruned."""
    if pruning is None:
        return []
    if pruning.kind in SOLITARY:
        return [step for step in range(1, last) if rung(pruning, step)]
    return COMPARISONS[pruning.kind].rungs(pruning, last)


def compares_at(pruning: Pruning, step: int, *, bracket: int = 0) -> bool:
    """Say whether trials are compared at `step`."""
    rule = comparing(pruning)
    return rule is not None and COMPARISONS[rule.kind].rung(rule, step, bracket)


def bracket(pruning: Pruning, number: int, *, seed: int) -> int:
    """Return in which bracket the trial of this number competes; 0 where there is one."""
    rule = comparing(pruning)
    return COMPARISONS[rule.kind].bracket(rule, number, seed) if rule is not None else 0


def keep(pruning: Pruning, size: int) -> int:
    """Return how many of the `size` scores at a rung go on; all, where trials are not compared."""
    rule = comparing(pruning)
    return COMPARISONS[rule.kind].keep(rule, size) if rule is not None else size


def alone(pruning: Pruning, curve: Sequence[float]) -> str | None:
    """Say why a trial stops, or may be stopped, for what it has measured itself; None while it goes on."""
    return SOLITARY[pruning.kind].verdict(pruning, curve)


def watched(definition: StudyDefinition, values: Mapping[str, float]) -> Losses | None:
    """Return what the study's pruning looks at in a measurement: the losses, or the metric that has bounds, as it is."""
    pruning = definition.pruning
    if not isinstance(pruning, ThresholdPruning):
        return losses(definition, values)
    value = values.get(pruning.metric or definition.objectives[0].name)
    return None if value is None else (value,)


def reason(
    pruning: Pruning, *, step: int, kept: int, size: int, standing: Standing | None = None, bracket: int = 0
) -> str:
    """Say why a trial stops, or waits; with its standing where several losses are compared."""
    rule = comparing(pruning) or pruning
    if promotes(pruning):
        return f"{rule.kind}: waits at step {step}; of {size} there the best {kept} go on"
    place = f"behind the best {kept} of {size}"
    if standing is not None:
        place = f"rank {standing.rank} of {size}, on front {standing.front},"
    where = f"step {step}" if rule.kind != "hyperband" else f"step {step} of bracket {bracket}"
    return f"{rule.kind}: {place} at {where}; the best {kept} go on"
