"""Replay: whether a trial's point follows from the study's seed and its recorded history."""

from dataclasses import dataclass

from models import claims, trials
from models.session import Connection, Database
from search.definition.parse import StudyDefinition
from search.definition.prunings import has_curves
from search.errors import Conflict
from search.records import Params, TrialRecord
from search.strategies.replay import Past, derive, same
from search.studies.views import get_trial, history, read_definition


@dataclass(frozen=True, slots=True)
class Replay:
    """A trial and its point derived again; without `derived` there was nothing to derive, and `note` says why."""

    trial: TrialRecord
    derived: Params | None
    matches: bool | None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Material:
    trial: TrialRecord
    definition: StudyDefinition
    seed: int
    draw: int | None
    past: Past


def replay(database: Database, project_id: int, text: str) -> Replay:
    """Derive a trial's point again, outside any transaction. Raise NotFound; Conflict while it has no point."""
    found = database.read(lambda connection: _material(connection, project_id, text))
    trial = found.trial
    if trial.params is None:
        raise Conflict("the trial has no point yet; ask again once it has been suggested")
    if found.draw is None:
        return Replay(trial, None, None, f"its point was given ({trial.origin}), not suggested by the strategy")
    derived = derive(found.definition, found.seed, draw=found.draw, why=trial.why, past=found.past)
    return Replay(trial, dict(derived.params), same(trial.params, derived.params))


def _material(connection: Connection, project_id: int, text: str) -> _Material:
    """Read all that the derivation needs; the history only where the strategy has read one."""
    trial = get_trial(connection, project_id, text)
    study = claims.study_of(connection, trial.study_id)
    cutoff = trial.why.get("cutoff")
    definition = read_definition(study.definition)
    past = (
        Past() if cutoff is None else _past(connection, trial.study_id, cutoff, curves=has_curves(definition.pruning))
    )
    draw = trials.draw_of(connection, trial.study_id, trial.number)
    return _Material(trial, definition, study.seed, draw, past)


def _past(connection: Connection, study_id: int, cutoff: int, *, curves: bool) -> Past:
    rows = trials.changed_trials(connection, study_id, -1)
    return Past(
        history(connection, study_id, rows, curves=curves),
        trials.failed_by(connection, study_id, cutoff),
        {row.number: row.dedupe_key for row in rows if row.dedupe_key is not None},
    )
