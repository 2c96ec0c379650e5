"""The verdict of a study, from the replicates in its ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from models.closings import NONE_COMPLETED
from models.ids import show_study
from models.session import Connection
from models.states import LIVE_STUDY, REPLICATE, TrialState
from models.trials import originated
from search.analysis.verdict import Judgement, Sample, judge
from search.definition.defaults import default_point
from search.definition.metrics import Metric
from search.definition.verdicts import BASELINE, NOTHING_TO_COMPARE, Verdict
from search.errors import Conflict, NotFound
from search.records import Params, StudyRecord, TrialRecord
from search.studies.views import get_study_row, study_record, trial_record


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration that was run again, and what came out. `trial` is the search's that it comes from, if any.

    `diverged` counts the runs that broke a constraint, too.
    """

    trial: int | None
    params: Params
    values: tuple[float, ...] = ()
    diverged: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class VerdictView:
    """The verdict as shown: what was asked, what ran, what follows."""

    asked: Verdict
    metric: Metric
    judgement: Judgement
    baseline: Configuration
    finalists: Sequence[Configuration] = field(default_factory=tuple)


def view_verdict(connection: Connection, project_id: int, text: str) -> VerdictView:
    """Return the verdict of a study that has ended. Raise NotFound where none was asked for, Conflict until then."""
    study = study_record(get_study_row(connection, project_id, text))
    definition, asked = study.definition, study.definition.verdict
    if asked is None:
        raise NotFound(f"study {show_study(study.id)} was asked for no verdict; post one with `verdict: {{}}`")
    replicates = [trial_record(row) for row in originated(connection, study.id, REPLICATE)]
    if study.state in LIVE_STUDY:
        raise Conflict(_not_yet(study.progress.finished, study.progress.budget, replicates))
    (metric,) = definition.objectives
    baseline = asked.baseline_params or default_point(definition)[0]
    sides = _configurations(replicates, metric.name)
    theirs = next((made for role, made in sides if role == BASELINE), Configuration(None, baseline))
    finalists = [made for role, made in sides if role != BASELINE]
    judgement = judge(
        [Sample(each.values, each.diverged) for each in finalists],
        Sample(theirs.values, theirs.diverged),
        maximize=metric.goal == "maximize",
        confidence=asked.confidence,
    )
    return VerdictView(asked, metric, _explained(judgement, study, replicates), theirs, finalists)


def _explained(judgement: Judgement, study: StudyRecord, replicates: Sequence[TrialRecord]) -> Judgement:
    """Say where a study ended before its replicates did, and why."""
    whole = bool(replicates) and all(trial.state != TrialState.CANCELLED for trial in replicates)
    if whole or study.reason in {None, NOTHING_TO_COMPARE, NONE_COMPLETED}:
        return judgement
    if not replicates:
        return replace(judgement, reason=f"nothing was run again, as the study ended before ({study.reason})")
    why = f"{judgement.reason}; not every replicate was run, as the study ended before ({study.reason})"
    return replace(judgement, reason=why)


def _not_yet(finished: int, budget: int, replicates: Sequence[TrialRecord]) -> str:
    if not replicates:
        return (
            f"the search goes on: {finished} of {budget} trials have finished; the verdict comes with the study's end"
        )
    ended = sum(trial.finished_at is not None for trial in replicates)
    return f"{ended} of {len(replicates)} replicates have finished; ask again when the study has ended"


def _configurations(replicates: Sequence[TrialRecord], metric: str) -> list[tuple[str, Configuration]]:
    """Gather the replicates of each configuration, in the order in which they were queued: (role, configuration)."""
    groups: dict[tuple[str, int | None], list[TrialRecord]] = {}
    for trial in replicates:
        groups.setdefault((trial.why["role"], trial.why["replicate_of"]), []).append(trial)
    return [(role, _configuration(number, runs, metric)) for (role, number), runs in groups.items()]


def _configuration(number: int | None, runs: Sequence[TrialRecord], metric: str) -> Configuration:
    completed = [run for run in runs if run.state == TrialState.COMPLETED]
    kept = [run.values or {} for run in completed if run.violation == 0]
    values = tuple(each[metric] for each in kept if metric in each)
    # Whoever breaks a constraint is no better than whoever diverges.
    diverged = sum(run.state == TrialState.DIVERGED for run in runs) + len(completed) - len(kept)
    return Configuration(number, runs[0].params or {}, values, diverged, len(runs) - len(values) - diverged)
