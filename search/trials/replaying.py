"""Replay: whether a trial's point follows from the study's seed and its recorded history."""

from dataclasses import dataclass

from models import claims, trials
from models.session import Connection, Database
from search.definition.parse import StudyDefinition
from search.errors import Conflict
from search.records import Params, TrialRecord
from search.strategies.replay import Past, derive, same
from search.strategies.table import make
from search.studies.views import get_trial, read_definition, trial_record, with_curves


@dataclass(frozen=True, slots=True)
class Replay:
    """A trial and its point derived again; without `derived` there was nothing to derive, and `note` says why."""

    trial: TrialRecord
    derived: Params | None
    matches: bool | None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Suggested:
    trial: TrialRecord
    definition: StudyDefinition
    seed: int
    draw: int | None


def replay(database: Database, project_id: int, text: str) -> Replay:
    """Derive a trial's point again, outside any transaction. Raise NotFound; Conflict while it has no point."""
    found = database.read(lambda connection: _suggested(connection, project_id, text))
    trial = found.trial
    if trial.params is None:
        raise Conflict("the trial has no point yet; ask again once it has been suggested")
    if found.draw is None:
        return Replay(trial, None, None, f"its point was given ({trial.origin}), not suggested by the strategy")
    curves = make(found.definition, found.seed).reads_curves
    past = database.read(lambda connection: _past(connection, trial, curves=curves))
    derived = derive(found.definition, found.seed, draw=found.draw, why=trial.why, past=past)
    return Replay(trial, dict(derived.params), same(trial.params, derived.params))


def _suggested(connection: Connection, project_id: int, text: str) -> _Suggested:
    trial = get_trial(connection, project_id, text)
    study = claims.study_of(connection, trial.study_id)
    draw = trials.draw_of(connection, trial.study_id, trial.number)
    return _Suggested(trial, read_definition(study.definition), study.seed, draw)


def _past(connection: Connection, trial: TrialRecord, *, curves: bool) -> Past:
    """Read the history that a trial's suggestion has seen a part of; nothing where it saw none."""
    if "cutoff" not in trial.why:
        return Past()
    rows = trials.changed_trials(connection, trial.study_id, -1)
    records = [trial_record(row) for row in rows]
    return Past(
        with_curves(connection, trial.study_id, records) if curves else records,
        trials.failed_by(connection, trial.study_id, trial.why["cutoff"]),
        {row.number: row.dedupe_key for row in rows if row.dedupe_key is not None},
    )
