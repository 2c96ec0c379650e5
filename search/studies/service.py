"""The life of a study: create, change, pause, resume, cancel, delete. Each is one unit of work on a connection.

The worker's side is `search.trials.dispatch`; what only reads is `search.studies.views`.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import closings, enqueueing, studies
from models.enqueueing import Entry
from models.ids import new_study_id, show_study
from models.interventions import reopened
from models.ledger import elapsed, lock_study, study_move
from models.session import Connection, Row
from models.states import LIVE_STUDY, StudyState
from models.waiting import conclude
from models.workers import registered_objectives
from search.definition.kinds import EXTERNAL, Objective, RecipeObjective
from search.definition.networks import ANNOUNCED
from search.definition.parse import StudyDefinition, parse_study
from search.definition.prunings import promotes
from search.definition.searches import PbtSearch
from search.errors import Conflict, Fault, InvalidStudy, NotFound
from search.records import StudyView
from search.space.sampling import SEED_LIMIT
from search.studies.enqueueing import keyed
from search.studies.starting import digest, earlier_answer, starting_trials
from search.studies.views import get_study_row, view_study

EDITABLE = ("name", "labels", "budget", "parallelism", "stopping")
_MOST_SHOWN = 50
ENDED_FOR_GOOD = frozenset({StudyState.CANCELLED, StudyState.FAILED})


@dataclass(frozen=True, slots=True)
class Changed:
    """A study after a request, and the queue that may have work now (None: none to wake).

    `reused` says that it is an earlier one, which answers what was asked.
    """

    view: StudyView
    wake: str | None
    reused: bool = False


def create_study(
    connection: Connection,
    project_id: int,
    raw: object,
    *,
    now: datetime,
    study_id: int | None = None,
    found: Sequence[Entry] | None = None,
) -> Changed:
    """Check a definition whole and store its study, running. Raise InvalidStudy naming every fault.

    With a `study_id` drawn by the caller, running the unit again finds what it stored before its reply was lost.
    `found` is what `starting.look_back` found; without it that is looked for here.
    """
    definition = parse_study(raw)
    if study_id is not None and studies.find_study(connection, project_id, study_id) is not None:
        return _changed(connection, project_id, study_id)
    earlier = earlier_answer(connection, project_id, definition)
    if earlier is not None:
        return Changed(view_study(connection, project_id, show_study(earlier)), wake=None, reused=True)
    _check_registered(connection, definition.objective)
    entries = starting_trials(connection, project_id, definition, found)
    seed = definition.search.seed if definition.search.seed is not None else secrets.randbelow(SEED_LIMIT)
    study_id = new_study_id() if study_id is None else study_id
    studies.insert_study(
        connection,
        {
            "id": study_id,
            "project_id": project_id,
            "name": definition.name,
            "definition": definition.model_dump(mode="json"),
            "labels": dict(definition.labels),
            "queue": definition.objective.queue,
            "objective": definition.objective.registered,
            "seed": seed,
            "budget": definition.trials,
            "reserved": definition.reserved,
            "fingerprint": digest(definition.fingerprint),
            **_limits(definition),
            "parallelism": definition.parallelism,
            "inherits": isinstance(definition.search, PbtSearch),
            "created_at": now,
        },
    )
    if entries and (study := lock_study(connection, study_id)) is not None:
        enqueueing.enqueue(connection, study, keyed(definition, entries), now=now)
    return _changed(connection, project_id, study_id)


def _check_registered(connection: Connection, objective: Objective) -> None:
    """Raise InvalidStudy for a name that no worker of its queue has registered: its trials would wait for ever."""
    announced = objective.registered
    if announced is None:
        return
    network = isinstance(objective, RecipeObjective)
    what, path = ("the network ", "objective.network.name") if network else ("", "objective.name")
    name = announced.removeprefix(ANNOUNCED) if network else announced
    known = _known(connection, networks=network)
    elsewhere = [queue for each, queue in known if each == name]
    if not elsewhere:
        shown = ", ".join(dict.fromkeys(each for each, _ in known[:_MOST_SHOWN])) or "none"
        message = (
            f"no worker has registered {what}{name!r}; known are {shown}: start a worker with it in its tuneup.toml"
        )
        raise InvalidStudy([Fault(path, message)])
    if objective.queue not in elsewhere:
        message = f"{what}{name!r} is registered by workers of {', '.join(elsewhere)} alone; name that, or start another worker"
        raise InvalidStudy([Fault("objective.device", message)])


def _known(connection: Connection, *, networks: bool) -> list[tuple[str, str]]:
    """Return (name, queue) of what workers have registered: their networks, or else their objectives."""
    announced = sorted(registered_objectives(connection))
    chosen = [(name, queue) for name, queue in announced if name.startswith(ANNOUNCED) is networks]
    return [(name.removeprefix(ANNOUNCED), queue) for name, queue in chosen]


def change_study(connection: Connection, project_id: int, text: str, edits: object, *, now: datetime) -> Changed:
    """Change name, labels, budget, parallelism or stopping. Raising the budget of a completed study reopens it.

    One that a rule of its own has stopped goes on once `stopping` is changed, whatever its budget.

    Raise InvalidStudy for an edit that would not be a valid study, and for a budget below what is allocated; Conflict
    for another budget of a study that is cancelled or failed, or was stopped.
    """
    study = _locked(connection, project_id, text)
    asked = _asked(edits)
    if not asked:
        return _changed(connection, project_id, study.id)
    definition = _edited(study, asked)
    trials = definition.trials
    _check_budget(study, definition, asked)
    values: dict[str, Any] = {
        "name": definition.name,
        "labels": dict(definition.labels),
        "budget": trials,
        **_limits(definition),
        "parallelism": definition.parallelism,
        "definition": definition.model_dump(mode="json"),
    }
    resumes = _resumes(study, definition, asked, now)
    target = _after_edit(connection, study, definition, resumes=resumes) if "budget" in asked or resumes else None
    if target is not None:
        values |= study_move(study, target, now, reason=None)
    if target is StudyState.RUNNING:
        values |= reopened(study, now)
    if resumes:
        values["closing"] = None
        if study.state in LIVE_STUDY and target is None:
            values["reason"] = None
    elif study.closing is None and study.state in LIVE_STUDY and study.reserved and trials > study.budget:
        values["reason"] = None  # a rule had ended its search, which now goes on
    studies.change_study(connection, study, values, now, event=target)
    if promotes(definition.pruning):
        conclude(connection, study.id, now)
    return _changed(connection, project_id, study.id)


def _check_budget(study: Row[Any], definition: StudyDefinition, asked: Mapping[str, Any]) -> None:
    """Raise Conflict for another budget where it comes too late, InvalidStudy for one that is too small."""
    if definition.verdict is not None and not study.reserved and definition.trials != study.budget:
        raise Conflict("the replicates of the verdict are queued: the budget of this study stays what it is")
    if _fixed(study, definition):
        raise Conflict(f"the study is {study.state} for good; its budget cannot be changed any more")
    if study.closing == closings.STOPPED and "stopping" not in asked and _budget_changed(study, definition):
        message = "is over for a study that was stopped; give stopping as well, other rules or null, to let it go on"
        raise Conflict(f"the study was stopped ({study.reason})", [Fault("budget", message)])
    if definition.trials < study.allocated + study.reserved:
        kept = f", and {study.reserved} kept for the verdict" if study.reserved else ""
        message = f"{study.allocated} trials are allocated already{kept}; give at least that many"
        raise InvalidStudy([Fault("budget.trials", message)])


def _limits(definition: StudyDefinition) -> dict[str, Any]:
    """Give the columns that say when a study ends, beside its trials."""
    stopping = definition.stopping
    return {
        "seconds": definition.budget.seconds,
        "gpu_seconds": definition.budget.gpu_seconds,
        "stopping": None if stopping is None else stopping.model_dump(mode="json"),
    }


def _fixed(study: Row[Any], definition: StudyDefinition) -> bool:
    """Say whether another budget comes too late. A failed study may get more time: one of its trials can be retried."""
    if study.state == StudyState.CANCELLED:
        return _budget_changed(study, definition)
    return study.state in ENDED_FOR_GOOD and definition.trials != study.budget


def _budget_changed(study: Row[Any], definition: StudyDefinition) -> bool:
    budget = definition.budget
    return (budget.trials, budget.seconds, budget.gpu_seconds) != (study.budget, study.seconds, study.gpu_seconds)


def _resumes(study: Row[Any], definition: StudyDefinition, asked: Mapping[str, Any], now: datetime) -> bool:
    """Say whether an edit takes back why the study starts nothing more."""
    if study.closing == closings.STOPPED:
        return "stopping" in asked
    if study.closing == closings.NOT_ADMITTED:
        return _budget_changed(study, definition)
    # The clock of one that has ended stands.
    until = study.finished_at or now
    return study.closing == closings.OUT_OF_TIME and _in_time(study, definition.budget.seconds, until)


def _after_edit(
    connection: Connection, study: Row[Any], definition: StudyDefinition, *, resumes: bool
) -> StudyState | None:
    """A completed study with budget left runs again; one whose budget was lowered to what is finished is over."""
    trials = definition.trials
    if study.closing in {closings.STOPPED, closings.NOT_ADMITTED} and not resumes:
        return None
    # One that ended early may owe its replicates, though its search has nothing left.
    owes = resumes and study.reserved > 0
    if study.state == StudyState.COMPLETED and (owes or trials > study.allocated + study.reserved):
        seconds, device = definition.budget.seconds, definition.budget.gpu_seconds
        if device is not None and study.gpu_spent >= device:
            message = f"{study.gpu_spent:g} device seconds are spent; give more, or null"
            raise InvalidStudy([Fault("budget.gpu_seconds", message)])
        if _in_time(study, seconds, study.finished_at):
            return StudyState.RUNNING
        if trials > study.budget:
            raise InvalidStudy([Fault("budget.seconds", f"{seconds:g} seconds are spent; raise them too, or set null")])
    if study.state in LIVE_STUDY and trials == study.allocated == study.finished and trials > 0:
        return StudyState.COMPLETED if closings.has_completed(connection, study.id) else StudyState.FAILED
    return None


def _in_time(study: Row[Any], seconds: float | None, now: datetime) -> bool:
    return seconds is None or elapsed(study, now) < seconds


def _asked(edits: object) -> Mapping[str, Any]:
    """Return the edits. Raise InvalidStudy for what is not an object of editable fields."""
    if not isinstance(edits, Mapping):
        raise InvalidStudy([Fault("", "must be an object with any of " + ", ".join(EDITABLE))])
    strange = [
        Fault(str(key), f"cannot be changed; only {', '.join(EDITABLE)} can") for key in edits if key not in EDITABLE
    ]
    if strange:
        raise InvalidStudy(strange)
    return edits


def _edited(study: Row[Any], edits: Mapping[str, Any]) -> StudyDefinition:
    merged = dict(study.definition)
    for key, value in edits.items():
        merged[key] = {**merged.get(key, {}), **value} if key == "budget" and isinstance(value, Mapping) else value
    return parse_study(merged)


def pause_study(connection: Connection, project_id: int, text: str, *, now: datetime) -> Changed:
    """Start no trial until resumed; what runs goes on. Pausing a paused study changes nothing."""
    study = _locked(connection, project_id, text)
    if study.state != StudyState.PAUSED:
        _move(connection, study, StudyState.PAUSED, now)
    return _changed(connection, project_id, study.id)


def resume_study(connection: Connection, project_id: int, text: str, *, now: datetime) -> Changed:
    """Go on with a paused study. Resuming a running one changes nothing."""
    study = _locked(connection, project_id, text)
    if study.state == StudyState.COMPLETED:
        raise Conflict("the study is completed; raise its budget with PATCH to go on")
    if study.state == StudyState.FAILED:
        raise Conflict(
            "the study has failed; POST /v1/trials/{id}:retry runs a failed trial again, and the study goes on"
        )
    if study.state != StudyState.RUNNING:
        _move(connection, study, StudyState.RUNNING, now)
    return _changed(connection, project_id, study.id)


def cancel_study(connection: Connection, project_id: int, text: str, *, now: datetime) -> Changed:
    """End a study for good: nothing is claimed any more, what runs is told to stop. Cancelling twice changes nothing."""
    study = _locked(connection, project_id, text)
    if study.state not in {StudyState.CANCELLED, *LIVE_STUDY}:
        raise Conflict(f"the study is {study.state}; only a running or paused study can be cancelled")
    if study.state != StudyState.CANCELLED:
        closings.cancel_waiting(connection, study, reason="cancelled", now=now, move=StudyState.CANCELLED)
    return _changed(connection, project_id, study.id)


def delete_study(connection: Connection, project_id: int, text: str) -> None:
    """Remove a study with all its trials. Raise Conflict while it runs."""
    study = _locked(connection, project_id, text)
    if study.state in LIVE_STUDY or study.running > 0:
        remedy = "cancel it and wait" if study.state in LIVE_STUDY else "wait, a lease at most,"
        fault = Fault("state", f"is {study.state} with {study.running} trials running; {remedy} for its trials to stop")
        raise Conflict(f"study {show_study(study.id)} is still running; {remedy} for its trials to stop", [fault])
    studies.delete_study(connection, study.id)


def _locked(connection: Connection, project_id: int, text: str) -> Row[Any]:
    seen = get_study_row(connection, project_id, text)
    study = lock_study(connection, seen.id)
    if study is None:
        raise NotFound(f"there is no study {text!r} in this project any more")
    return study


def _move(connection: Connection, study: Row[Any], target: StudyState, now: datetime) -> None:
    try:
        # Only one that is closing has a reason by now.
        values = study_move(study, target, now, reason=study.reason)
    except ValueError as error:
        raise Conflict(str(error)) from error
    studies.change_study(connection, study, values, now, event=target)


def _changed(connection: Connection, project_id: int, study_id: int) -> Changed:
    view = view_study(connection, project_id, show_study(study_id))
    record = view.record
    wanted = record.state == StudyState.RUNNING and record.progress.finished < record.progress.budget
    return Changed(view=view, wake=record.queue if wanted and record.queue != EXTERNAL else None)
