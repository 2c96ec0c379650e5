"""The front of a study's trials, as shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models import trials
from models.session import Connection
from search.analysis.tradeoffs import Tradeoffs, tradeoffs
from search.definition.schema import StudyDefinition
from search.errors import Fault, InvalidValue
from search.records import TrialRecord
from search.studies.views import get_study_row, read_definition, trial_record


@dataclass(frozen=True, slots=True)
class Front:
    """The best trade-offs among a study's completed and feasible trials, with the trials themselves."""

    definition: StudyDefinition
    found: Tradeoffs
    trials: Sequence[TrialRecord]


def front(
    connection: Connection, project_id: int, text: str, reference: Sequence[tuple[str, float]] | None = None
) -> Front:
    """Return a study's front, measured from `reference` (a value for each objective) or from the worst values seen.

    Raise NotFound, and InvalidValue for a reference that does not name each objective once.
    """
    row = get_study_row(connection, project_id, text)
    definition = read_definition(row.definition)
    given = _reference(definition, reference) if reference else None
    feasible = [(each.number, each.values) for each in trials.feasible(connection, row.id)]
    found = tradeoffs(definition, feasible, given)
    rows = trials.numbered(connection, row.id, found.front)
    return Front(definition, found, [trial_record(rows[number]) for number in found.front])


def _reference(definition: StudyDefinition, given: Sequence[tuple[str, float]]) -> Mapping[str, float]:
    names = [metric.name for metric in definition.objectives]
    path = "query.reference"
    asked = [name for name, _ in given]
    faults = [
        Fault(path, f"there is no objective {name!r}; valid are {', '.join(names)}")
        for name in dict.fromkeys(asked)
        if name not in names
    ]
    faults += [Fault(path, f"must name each objective: {name!r} is missing") for name in names if name not in asked]
    faults += [Fault(path, f"names {name!r} more than once") for name in names if asked.count(name) > 1]
    if faults:
        raise InvalidValue(faults)
    return dict(given)
