"""What a person does to a single trial, under its study's lock: take it out, or give a failed one another try."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, update

from models.closings import NONE_COMPLETED, cancel_waiting, has_completed
from models.ledger import Change, lock_study, record, study_move, update_study
from models.states import LIVE_STUDY, StudyState, TrialState
from models.tables import Lease, Trial

CANCELLED = "cancelled"


def cancel_trial(connection: Connection, study: Row[Any], trial: Row[Any], now: datetime) -> None:
    """Cancel a queued trial of a locked, living study; tell the holder of a running one to stop. Others stay as they are."""
    if trial.state == TrialState.RUNNING:
        connection.execute(
            update(Lease).where(Lease.study_id == study.id, Lease.number == trial.number).values(stop=CANCELLED)
        )
    elif trial.state == TrialState.QUEUED:
        cancel_waiting(connection, study, reason=CANCELLED, now=now, only=trial.number)
        end_if_spent(connection, study.id, now)


def end_if_spent(connection: Connection, study_id: int, now: datetime) -> None:
    """End a locked, living study whose last trial has just got its end without being run."""
    study = lock_study(connection, study_id)
    if study is None or study.finished < study.allocated:
        return
    if study.allocated == study.budget or study.closing is not None:
        target = StudyState.COMPLETED if has_completed(connection, study_id) else StudyState.FAILED
        reason = (study.reason or study.closing) if target is StudyState.COMPLETED else NONE_COMPLETED
        record(connection, study, [Change(target, source=study.state, reason=reason)], now)
        update_study(connection, study, {**study_move(study, target, now, reason=reason), "seq": study.seq + 1})


def retry_trial(connection: Connection, study: Row[Any], trial: Row[Any], now: datetime) -> None:
    """Queue a failed trial of a locked study again; a study that had ended goes on. What failed before is no strike.

    Raise ValueError for a trial that has not failed, and for a study that cannot go on.
    """
    if trial.state != TrialState.FAILED:
        raise ValueError(f"the trial is {trial.state}; only a failed one can be retried")
    values: dict[str, Any] = {"finished": study.finished - 1}
    changes = [
        Change(TrialState.QUEUED, number=trial.number, attempt=trial.attempt, source=trial.state, reason="retried")
    ]
    if study.state not in LIVE_STUDY:
        values |= study_move(study, StudyState.RUNNING, now) | reopened(study, now)
        changes.append(Change(StudyState.RUNNING, source=study.state, reason="retried"))
    seqs = record(connection, study, changes, now)
    connection.execute(
        update(Trial)
        .where(Trial.study_id == study.id, Trial.number == trial.number, Trial.state == TrialState.FAILED)
        .values(
            state=TrialState.QUEUED,
            reason=None,
            finished_at=None,
            next_run_at=None,
            execution=None,
            forgiven=trial.attempt,
            seq=seqs[trial.number],
        )
    )
    update_study(connection, study, {**values, "seq": study.seq + len(changes)})


def reopened(study: Row[Any], now: datetime) -> dict[str, Any]:
    """Give the column values of an ended study that goes on: while it was over its clock stood, and nothing closes it."""
    over = (now - study.finished_at).total_seconds() if study.started_at is not None else 0.0
    return {"closing": None, "paused_seconds": study.paused_seconds + max(0.0, over)}
