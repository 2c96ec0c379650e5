"""The plan of a study's space: what every strategy, and whoever checks or counts points, works with."""

from search.definition.schema import StudyDefinition
from search.space.plan import Plan, plan


def plan_of(definition: StudyDefinition) -> Plan:
    """Return the space in order with its constraints, fixed and derived values; make it once and keep it."""
    return plan(definition.space, definition.constraints)
