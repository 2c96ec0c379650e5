"""What a person does to one trial: give a failed one another try, or take one out of its study."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import interventions, trials
from models.closings import NOT_ADMITTED, STOPPED
from models.ids import show_study
from models.ledger import elapsed, lock_study
from models.session import Connection, Row
from models.states import FINAL_TRIAL_STATES, LIVE_STUDY, StudyState, TrialState
from models.waiting import conclude
from search.definition.kinds import EXTERNAL
from search.definition.prunings import promotes
from search.errors import Conflict, NotFound
from search.records import TrialRecord
from search.studies.views import get_trial, read_definition, trial_record


@dataclass(frozen=True, slots=True)
class ChangedTrial:
    """A trial after a request, and the queue that may have work now (None: none to wake)."""

    trial: TrialRecord
    wake: str | None


def locked(connection: Connection, project_id: int, text: str) -> tuple[Row[Any], Row[Any]]:
    """Take the lock of a trial's study; return the rows of both. Raise NotFound.

    Every change of a trial's state goes through the study's lock. The trial's own is left alone: a measurement takes a
    share in it after its lease, and whoever then wants that lease would wait for ever.
    """
    seen = get_trial(connection, project_id, text)
    study = lock_study(connection, seen.study_id)
    trial = trials.find_trial(connection, project_id, seen.study_id, seen.number) if study is not None else None
    if study is None or trial is None:
        raise NotFound(f"there is no trial {text!r} in this project any more")
    return study, trial


def changed(connection: Connection, project_id: int, text: str) -> ChangedTrial:
    """Read a trial that was just changed; its queue is woken if it waits there."""
    trial = get_trial(connection, project_id, text)
    waits = trial.state == TrialState.QUEUED and trial.queue != EXTERNAL
    return ChangedTrial(trial, wake=trial.queue if waits else None)


def retry_trial(connection: Connection, project_id: int, text: str, *, now: datetime) -> ChangedTrial:
    """Queue a failed trial again, whatever it failed of; a study that had ended goes on. Twice is once.

    Raise Conflict for a trial that has not failed, and for a study that can start nothing more.
    """
    study, trial = locked(connection, project_id, text)
    if trial.state == TrialState.QUEUED and trial.forgiven == trial.attempt > 0:
        return changed(connection, project_id, text)
    if trial.state != TrialState.FAILED:
        raise Conflict(f"the trial is {trial.state}; only a failed one can be retried")
    if study.state == StudyState.CANCELLED:
        raise Conflict(f"study {show_study(study.id)} is cancelled for good; create another one to go on")
    ends = now if study.state in LIVE_STUDY else study.finished_at
    if study.closing in {STOPPED, NOT_ADMITTED}:
        what = "stopping" if study.closing == STOPPED else "budget"
        raise Conflict(
            f"study {show_study(study.id)} starts nothing more ({study.reason}); change its {what} with PATCH, and retry then"
        )
    if study.closing is not None or (study.seconds is not None and elapsed(study, ends) >= study.seconds):
        raise Conflict(
            f"the {study.seconds:g} seconds of study {show_study(study.id)} are spent; raise budget.seconds with "
            "PATCH, or set it null, and retry then"
        )
    interventions.retry_trial(connection, study, trial, now)
    return changed(connection, project_id, text)


def cancel_trial(connection: Connection, project_id: int, text: str, *, now: datetime) -> TrialRecord:
    """Cancel a trial that waits; tell the holder of a running one to stop. Cancelling twice changes nothing.

    Raise Conflict for a trial that has ended otherwise, and for one of a study that has ended.
    """
    study, trial = locked(connection, project_id, text)
    if trial.state == TrialState.CANCELLED:
        return trial_record(trial)
    if trial.state in FINAL_TRIAL_STATES:
        raise Conflict(f"the trial is {trial.state}; only one that waits or runs can be cancelled")
    if study.state not in LIVE_STUDY:
        raise Conflict(f"study {show_study(study.id)} is {study.state}; what still runs there was told to stop")
    interventions.cancel_trial(connection, study, trial, now)
    if promotes(read_definition(study.definition).pruning):
        conclude(connection, study.id, now)
    return get_trial(connection, project_id, text)
