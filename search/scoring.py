"""The one number trials are ranked by."""

from collections.abc import Mapping

from search.definition import StudyDefinition


def score(definition: StudyDefinition, values: Mapping[str, float] | None) -> float | None:
    """Return the optimized metric with its sign turned so that lower is better; None when it is not there."""
    metric = definition.objective_metric
    value = values.get(metric.name) if values is not None else None
    if value is None:
        return None
    return -value if metric.goal == "maximize" else value
