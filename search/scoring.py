"""The one number trials are ranked by."""

from collections.abc import Mapping

from search.definition.parse import StudyDefinition


def score(definition: StudyDefinition, values: Mapping[str, float] | None) -> float | None:
    """Return the optimized metric with its sign turned so that lower is better; None when it is not there."""
    metric = definition.objective_metric
    value = values.get(metric.name) if values is not None else None
    if value is None:
        return None
    return -value if metric.goal == "maximize" else value


def chosen(
    definition: StudyDefinition, kept: Mapping[str, float] | None, new: Mapping[str, float]
) -> Mapping[str, float]:
    """Return the values a trial has after a measurement: the last ones, or with `report: best` the best ones.

    A measurement without the optimized metric changes nothing once there was one with it.
    """
    before, now = score(definition, kept), score(definition, new)
    if before is None or now is None:
        return new if before is None or kept is None else kept
    return new if definition.report == "last" or now < before else kept or new
