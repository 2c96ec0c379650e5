"""What trials are ranked by: the optimized metrics as losses (lower is better), and how far constraints are violated.

A trial is feasible if its violation is 0. One whose values lack a constraint's metric has no known violation, and counts
as infeasible: nobody knows that it keeps the threshold.
"""

import math
import sys
from collections.abc import Mapping

from search.definition.metrics import Metric
from search.definition.schema import StudyDefinition

_LARGEST = sys.float_info.max


def losses(definition: StudyDefinition, values: Mapping[str, float] | None) -> tuple[float, ...] | None:
    """Return the optimized metrics in the definition's order, signs turned; None unless all of them are there."""
    if values is None or missing(definition, values):
        return None
    return tuple(metric.sign * values[metric.name] for metric in definition.objectives)


def missing(definition: StudyDefinition, values: Mapping[str, float] | None) -> list[str]:
    """Name the optimized metrics without a value."""
    return [metric.name for metric in definition.objectives if metric.name not in (values or {})]


def unmeasured(definition: StudyDefinition, values: Mapping[str, float] | None) -> list[str]:
    """Name the constraints without a value."""
    return [metric.name for metric in definition.thresholds if metric.name not in (values or {})]


def score(definition: StudyDefinition, values: Mapping[str, float] | None) -> float | None:
    """Return the loss of the only optimized metric; None when it is not there, and where several are optimized."""
    found = losses(definition, values)
    return found[0] if found is not None and len(found) == 1 else None


def violation(definition: StudyDefinition, values: Mapping[str, float] | None) -> float | None:
    """Return by how much the constraints are violated together: 0 is feasible, None is not known.

    Each excess is measured in its threshold (in plain units where that is 0), so that constraints of different scales
    add up. Finite.
    """
    if values is None or unmeasured(definition, values):
        return None
    return min(sum(_excess(metric, values[metric.name]) for metric in definition.thresholds), _LARGEST)


def _excess(metric: Metric, value: float) -> float:
    threshold = metric.threshold or 0.0
    # Halved before they are subtracted: the difference of two finite numbers may be none.
    beyond = max(0.0, metric.sign * (value / 2 - threshold / 2))
    kept = value <= threshold if metric.sign > 0 else value >= threshold
    # However little is too much, it is not nothing: halves of the smallest numbers are.
    return 0.0 if kept else max(2 * beyond / (abs(threshold) or 1.0), math.ulp(0.0))


def chosen(
    definition: StudyDefinition, kept: Mapping[str, float] | None, new: Mapping[str, float]
) -> Mapping[str, float]:
    """Return the values a trial has after a measurement: the last ones, or with `report: best` the best ones.

    The best are those that violate the constraints least, then those of the best score. A measurement without the
    optimized metrics changes nothing once there was one with them.
    """
    if kept is None or missing(definition, kept):
        return new
    if missing(definition, new):
        return kept
    return new if definition.report == "last" or _rank(definition, new) < _rank(definition, kept) else kept


def _rank(definition: StudyDefinition, values: Mapping[str, float]) -> tuple[float, tuple[float, ...]]:
    beyond = violation(definition, values)
    return math.inf if beyond is None else beyond, losses(definition, values) or ()
