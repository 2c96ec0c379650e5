"""Thresholds: a trial stops once a metric is out of bounds, whatever the others do."""

from collections.abc import Sequence

from search.definition.prunings import ThresholdPruning


def rung(pruning: ThresholdPruning, step: int) -> bool:
    """Say whether a decision is due: every `interval` steps after the warm-up."""
    since = step - pruning.warmup
    return since > 0 and since % pruning.interval == 0


def verdict(pruning: ThresholdPruning, curve: Sequence[float]) -> str | None:
    """Say why a trial stops whose metric has these values, the latest last; None while that is within the bounds."""
    value, name = curve[-1], pruning.metric or "the value"
    if pruning.lower is not None and value < pruning.lower:
        return f"threshold: {name} {value:g} is below {pruning.lower:g}"
    if pruning.upper is not None and value > pruning.upper:
        return f"threshold: {name} {value:g} is above {pruning.upper:g}"
    return None
