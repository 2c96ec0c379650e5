"""Points that a person gives a study: to be tried, or finished already. Under the study's lock, all of them or none.

Queued trials take numbers and budget like drawn ones. Finished ones are not run, so they cost nothing: the budget rises
by as many. On a grid each is that grid point, which is not drawn any more, and there the budget stays what it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from models import enqueueing, interventions
from models.enqueueing import Entry
from models.ids import show_study
from models.ledger import lock_study
from models.session import Connection, Row
from models.states import FINAL_TRIAL_STATES, IMPORTED, LIVE_STUDY, TrialState
from models.trials import numbered
from models.waiting import conclude
from search.definition.bounds import MOST_TRIALS
from search.definition.kinds import EXTERNAL
from search.definition.planning import plan_of
from search.definition.prunings import promotes
from search.definition.schema import StudyDefinition
from search.definition.searches import GridSearch, PbtSearch
from search.errors import Conflict, Fault, InvalidValue, NotFound
from search.records import TrialRecord
from search.scoring import missing, score, unmeasured, violation
from search.space.plan import dedupe_key
from search.space.points import grid, is_discrete
from search.space.validation import check_point
from search.studies.views import get_study_row, read_definition, trial_record

QUEUED = "queued"


@dataclass(frozen=True, slots=True)
class Given:
    """One trial as given: its point, and where it is finished already its state and values."""

    params: Mapping[str, Any]
    state: TrialState = TrialState.QUEUED
    values: Mapping[str, float] | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Enqueued:
    """The trials that were stored, and the queue that may have work now (None: none to wake)."""

    trials: Sequence[TrialRecord]
    wake: str | None


def enqueue_trials(
    connection: Connection, project_id: int, text: str, given: Sequence[Given], *, now: datetime
) -> Enqueued:
    """Store trials. Raise InvalidValue with every fault, Conflict for a study that has ended or has no room for them."""
    study = lock_study(connection, get_study_row(connection, project_id, text).id)
    if study is None:
        raise NotFound(f"there is no study {text!r} in this project any more")
    if study.state not in LIVE_STUDY or study.closing is not None:
        raise Conflict(
            f"study {show_study(study.id)} is {_over(study)}; trials can be added to one that runs or is paused"
        )
    definition = read_definition(study.definition)
    if isinstance(definition.search, PbtSearch):
        raise Conflict(f"study {show_study(study.id)} trains lineages (pbt), whose members begin at points of its own")
    given, faults = _checked(definition, given)
    places = _grid_places(definition, given) if not faults else None
    faults = faults or _place_faults(connection, study.id, places)
    if faults:
        raise InvalidValue(faults)
    free = 0 if places is not None else sum(item.state in FINAL_TRIAL_STATES for item in given)
    _check_room(study, definition, len(given) - free, free)
    entries = [_entry(definition, item, places[index] if places else None) for index, item in enumerate(given)]
    entries = keyed(definition, entries)
    numbers = enqueueing.enqueue(connection, study, entries, now=now, besides=_raised(study, definition, free))
    interventions.end_if_spent(connection, study.id, now)
    if promotes(definition.pruning):
        conclude(connection, study.id, now)
    waits = study.queue != EXTERNAL and any(item.state is TrialState.QUEUED for item in given)
    rows = numbered(connection, study.id, numbers)
    return Enqueued([trial_record(rows[number]) for number in numbers], wake=study.queue if waits else None)


def _over(study: Row[Any]) -> str:
    return str(study.state) if study.state not in LIVE_STUDY else f"closing ({study.closing})"


def _checked(definition: StudyDefinition, given: Sequence[Given]) -> tuple[list[Given], list[Fault]]:
    """Complete points with what is fixed and derived; say what is wrong with them and with their values."""
    the_plan = plan_of(definition)
    whole: list[Given] = []
    faults: list[Fault] = []
    for index, item in enumerate(given):
        path = f"trials[{index}]"
        point, found = check_point(the_plan, item.params)
        whole.append(replace(item, params=point))
        faults += [Fault(f"{path}.params.{fault.path}", fault.message) for fault in found]
        if item.values is not None and item.state not in {TrialState.COMPLETED, TrialState.PRUNED}:
            faults.append(Fault(f"{path}.values", f"a {item.state} trial has none; leave them out, or say completed"))
        elif item.state is TrialState.COMPLETED:
            needed = dict.fromkeys(missing(definition, item.values), "a metric that the study optimizes")
            needed |= dict.fromkeys(unmeasured(definition, item.values), "a constraint of the study")
            faults += [Fault(f"{path}.values.{name}", f"is required: it is {what}") for name, what in needed.items()]
    return whole, faults


def _grid_places(definition: StudyDefinition, given: Sequence[Given]) -> list[int | None] | None:
    """Return the grid point that each is, None for one that is none; None for a study that is no grid."""
    if not isinstance(definition.search, GridSearch):
        return None
    points = grid(plan_of(definition))
    return [points.index(item.params) for item in given]


def _place_faults(connection: Connection, study_id: int, places: Sequence[int | None] | None) -> list[Fault]:
    if places is None:
        return []
    taken = enqueueing.standing(connection, study_id, [place for place in places if place is not None])
    faults, first = [], dict[int, int]()
    for index, place in enumerate(places):
        path = f"trials[{index}].params"
        if place is None:
            faults.append(Fault(path, "is no point of the grid: give each parameter one of its levels"))
        elif place in taken:
            faults.append(Fault(path, f"is the point of trial {taken[place]} already; a grid has each point once"))
        elif first.setdefault(place, index) != index:
            faults.append(Fault(path, f"is the point of trials[{first[place]}] already; a grid has each point once"))
    return faults


def _check_room(study: Row[Any], definition: StudyDefinition, costly: int, free: int) -> None:
    left = study.budget - study.reserved - study.allocated
    if costly > left:
        kept = f", {study.reserved} more are kept for the verdict" if study.reserved else ""
        remedy = (
            "give fewer"
            if isinstance(definition.search, GridSearch)
            else "raise budget.trials with PATCH, or give fewer"
        )
        message = f"take {costly} trials of the budget, of which {left} of {study.budget} are left{kept}: {remedy}"
        raise Conflict("the budget has no room for these trials; nothing was stored", [Fault("trials", message)])
    if study.budget + free > MOST_TRIALS:
        fault = Fault("trials", f"would make more than {MOST_TRIALS:,} trials of the study: give fewer")
        raise Conflict("a study cannot hold so many trials; nothing was stored", [fault])


def _raised(study: Row[Any], definition: StudyDefinition, free: int) -> dict[str, Any]:
    """Give the columns of a budget raised by `free` trials, in the definition, too: edits start from there."""
    if not free:
        return {}
    budget = definition.budget.model_copy(update={"trials": study.budget + free})
    raised = definition.model_copy(update={"budget": budget})
    return {"budget": study.budget + free, "definition": raised.model_dump(mode="json")}


def _entry(definition: StudyDefinition, item: Given, place: int | None) -> Entry:
    return Entry(
        params=item.params,
        origin=QUEUED if item.state is TrialState.QUEUED else IMPORTED,
        state=item.state,
        values=item.values,
        score=score(definition, item.values),
        violation=violation(definition, item.values),
        grid_index=place,
        reason=item.reason,
    )


def keyed(definition: StudyDefinition, entries: Sequence[Entry]) -> list[Entry]:
    """Mark the points of a wholly discrete space as taken, so that no strategy draws them while others are left."""
    if not is_discrete(plan_of(definition)):
        return list(entries)
    return [replace(entry, dedupe_key=dedupe_key(entry.params)) for entry in entries]
