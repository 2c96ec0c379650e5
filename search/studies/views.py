"""Rows of the ledger as the frozen records of the domain, and what is read for showing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from models import rungs, studies, trials
from models.ids import read_study, read_trial, show_study
from models.session import Connection, Row
from search.definition.parse import StudyDefinition
from search.errors import Conflict, NotFound
from search.records import AttemptRecord, Measurement, Progress, StudyRecord, StudyView, TrialRecord


def read_definition(stored: dict[str, Any]) -> StudyDefinition:
    """Read a stored definition, which was checked when it was posted."""
    return StudyDefinition.model_validate(stored)


def study_record(row: Row[Any]) -> StudyRecord:
    """Turn a study's row into its record."""
    return StudyRecord(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        state=row.state,
        definition=read_definition(row.definition),
        labels=row.labels,
        queue=row.queue,
        seed=row.seed,
        progress=Progress(budget=row.budget, allocated=row.allocated, running=row.running, finished=row.finished),
        drawn=row.drawn,
        parallelism=row.parallelism,
        seconds=row.seconds,
        gpu_seconds=row.gpu_seconds,
        gpu_spent=row.gpu_spent,
        seq=row.seq,
        reason=row.reason,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def trial_record(row: Row[Any]) -> TrialRecord:
    """Turn a trial's row into its record."""
    return TrialRecord(
        study_id=row.study_id,
        number=row.number,
        state=row.state,
        origin=row.origin,
        params=row.params,
        values=row.values,
        score=row.score,
        violation=row.violation,
        reason=row.reason,
        attempt=row.attempt,
        seq=row.seq,
        queue=row.queue,
        grid_index=row.grid_index,
        why=row.why,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        execution=row.execution,
        waiting_step=row.waiting_step,
        parent=row.parent,
        draw=row.draw,
    )


def with_curves(connection: Connection, study_id: int, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Add to trials their scores at the rungs that they have come to since they were read; one without a point has none."""
    passed = {record.number: max(record.curve, default=0) for record in records if record.params is not None}
    found = rungs.curves(connection, study_id, passed) if passed else {}
    return [replace(record, curve={**record.curve, **found.get(record.number, {})}) for record in records]


def get_study_row(connection: Connection, project_id: int, text: str) -> Row[Any]:
    """Return a study's row by its public id. Raise NotFound, also for another project's study."""
    study_id = read_study(text)
    row = studies.find_study(connection, project_id, study_id) if study_id is not None else None
    if row is None:
        raise NotFound(f"there is no study {text!r} in this project; GET /v1/studies lists them")
    return row


def get_trial(connection: Connection, project_id: int, text: str) -> TrialRecord:
    """Return a trial by its public id. Raise NotFound, also for another project's trial."""
    key = read_trial(text)
    row = trials.find_trial(connection, project_id, *key) if key is not None else None
    if row is None:
        raise NotFound(f"there is no trial {text!r} in this project; GET /v1/studies/{{id}}/trials lists a study's")
    return trial_record(row)


def attempts(connection: Connection, trial: TrialRecord) -> list[AttemptRecord]:
    """Return the attempts of a trial, the first one first."""
    return [
        AttemptRecord(
            attempt=row.attempt,
            worker=row.worker,
            state=row.state,
            reason=row.reason,
            error=row.error,
            started_at=row.started_at,
            finished_at=row.finished_at,
            population=row.population,
            seconds=row.seconds,
        )
        for row in trials.list_attempts(connection, trial.study_id, trial.number)
    ]


def view_studies(connection: Connection, rows: Sequence[Row[Any]]) -> list[StudyView]:
    """Add to each study what is counted from its trials, in two statements however many there are."""
    ids = [row.id for row in rows]
    counts = studies.count_states(connection, ids) if ids else {}
    best = studies.best_trials(connection, ids) if ids else {}
    return [
        StudyView(
            record=study_record(row),
            counts=counts[row.id],
            best=trial_record(best[row.id]) if row.id in best else None,
        )
        for row in rows
    ]


def view_study(connection: Connection, project_id: int, text: str) -> StudyView:
    """Return one study as shown. Raise NotFound, also for another project's study."""
    return view_studies(connection, [get_study_row(connection, project_id, text)])[0]


def best_trial(connection: Connection, project_id: int, text: str) -> TrialRecord:
    """Return the best completed and feasible trial. Raise NotFound while there is none, Conflict where several metrics rank."""
    row = get_study_row(connection, project_id, text)
    definition = read_definition(row.definition)
    if definition.several_objectives:
        names = ", ".join(metric.name for metric in definition.objectives)
        raise Conflict(
            f"the study optimizes several metrics ({names}), so no single trial is the best; "
            f"GET /v1/studies/{show_study(row.id)}/pareto shows the best trade-offs"
        )
    best = studies.best_trials(connection, [row.id]).get(row.id)
    if best is None:
        kept = " and keeps the constraints" if definition.thresholds else ""
        raise NotFound(f"no trial of study {show_study(row.id)} has completed{kept} yet; ask again later")
    return trial_record(best)


def measurements(connection: Connection, trial: TrialRecord, points: int | None = None) -> list[Measurement]:
    """Return a trial's measurements by step; with `points`, evenly thinned to at most so many, ends kept."""
    rows = trials.list_measurements(connection, trial.study_id, trial.number)
    if points is not None and len(rows) > points:
        last = len(rows) - 1
        keep = {round(place * last / (points - 1)) for place in range(points)} if points > 1 else {last}
        rows = [row for place, row in enumerate(rows) if place in keep]
    return [Measurement(step=row.step, values=row.values) for row in rows]
