"""The end of a study that is to give a verdict: its best configurations and the baseline, run again on fresh seeds.

They are queued by the first claim after the last trial of the search has its end, under the study's lock and in the
claim's transaction. So it happens once, whoever claims and however the last trial ended, and nothing is lost by a crash.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import closings, enqueueing, studies
from models.claims import stored_definition
from models.enqueueing import Entry
from models.session import Connection, Row
from models.states import REPLICATE, StudyState
from search.definition.defaults import default_point
from search.definition.schema import StudyDefinition
from search.definition.verdicts import BASELINE, FINALIST, NOTHING_TO_COMPARE, Verdict
from search.space.parameters import Value
from search.space.plan import dedupe_key
from search.studies.views import read_definition

_MOST_LOOKED_AT = 1000  # of the best trials, among which the best distinct configurations are looked for


@dataclass(frozen=True, slots=True)
class Contender:
    """A configuration to run again: which role, and the trial of the search that it comes from (None: none)."""

    role: str
    params: Mapping[str, Value]
    number: int | None


def go_on(connection: Connection, study_id: int, now: datetime) -> bool:
    """Do what is due in a study that has nothing to claim; return whether there is something now.

    One whose seconds are spent is closed. One whose search is over queues its replicates, or ends where there is
    nothing to run again.
    """
    study = closings.close_if_spent(connection, study_id, now)
    if study is None or not study.reserved or study.finished < study.allocated:
        return False
    if study.allocated + study.reserved < study.budget:
        return False
    definition = read_definition(stored_definition(connection, study_id))
    field = _contenders(connection, study, definition)
    if len(field) < 2:
        completed = closings.has_completed(connection, study_id)
        move = StudyState.COMPLETED if completed else StudyState.FAILED
        reason = (study.reason or NOTHING_TO_COMPARE) if completed else closings.NONE_COMPLETED
        closings.cancel_waiting(connection, study, reason=reason, now=now, move=move)
        return False
    enqueueing.enqueue(connection, study, list(_entries(field, study.reserved)), now=now, besides={"reserved": 0})
    return True


def running_definition(definition: StudyDefinition, origin: str | None) -> StudyDefinition:
    """Return what a trial is run by: nothing prunes a replicate, or the worse half of its runs would be missing."""
    return definition.model_copy(update={"pruning": None}) if origin == REPLICATE else definition


def _contenders(connection: Connection, study: Row[Any], definition: StudyDefinition) -> list[Contender]:
    """Return the baseline and the best configurations besides it, each once."""
    verdict = definition.verdict or Verdict()
    baseline = verdict.baseline_params or default_point(definition)[0]
    known = dedupe_key(baseline)
    own: int | None = None
    best: dict[str, Contender] = {}
    for row in studies.leading_trials(connection, study.id, limit=_MOST_LOOKED_AT):
        key = dedupe_key(row.params)
        if key == known:
            own = row.number if own is None else own
        elif len(best) < verdict.finalists:
            best.setdefault(key, Contender(FINALIST, row.params, row.number))
    return [Contender(BASELINE, baseline, own), *best.values()]


def _entries(field: Sequence[Contender], runs: int) -> Iterator[Entry]:
    """Share out the runs, one each in turn, the baseline first: all that was kept is used, and any prefix is fair."""
    for run in range(runs):
        contender = field[run % len(field)]
        why = {"role": contender.role, "replicate_of": contender.number, "replicate": run // len(field)}
        yield Entry(params=contender.params, origin=REPLICATE, why=why)
