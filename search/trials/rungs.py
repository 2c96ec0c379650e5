"""Pruning decisions: written once for each (trial, rung), in the transaction of the report that caused them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from models import leases
from models.session import Connection
from search.definition.parse import StudyDefinition
from search.pruners.table import keep, reason, rung
from search.scoring import score

Place = tuple[int, int, int]


class _Claim(Protocol):
    @property
    def study_id(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def definition(self) -> StudyDefinition: ...


class _Report(Protocol):
    @property
    def claim(self) -> _Claim: ...
    @property
    def step(self) -> int: ...
    @property
    def values(self) -> Mapping[str, float]: ...


def decide(connection: Connection, reports: Sequence[_Report]) -> dict[Place, str]:
    """Return the reason for each (study, number, step) whose trial is to stop; repeated reports get the same answer.

    Every score of the call counts at its rung before anyone is judged. Who is to stop is told so with each of its
    reports at a rung, be the decision from this call or an earlier one.
    """
    scores, definitions = _scores(reports)
    if not scores:
        return {}
    rows = [
        {"study_id": study_id, "number": number, "step": step, "score": value}
        for (study_id, number, step), value in scores.items()
    ]
    fresh = leases.add_rungs(connection, rows)
    decided: dict[Place, str] = {}
    for study_id in sorted(definitions):
        here = [place for place in scores if place[0] == study_id]
        standing = _judge(connection, definitions[study_id], study_id, here, fresh)
        decided |= {place: standing[place[1]] for place in here if place[1] in standing}
    return decided


def _scores(reports: Sequence[_Report]) -> tuple[dict[Place, float], dict[int, StudyDefinition]]:
    """Return the scores at which a decision is due, and the definitions of their studies."""
    scores: dict[Place, float] = {}
    definitions: dict[int, StudyDefinition] = {}
    due: dict[tuple[int, int], bool] = {}
    for report in reports:
        study_id, step, definition = report.claim.study_id, report.step, report.claim.definition
        if definition.pruning is None:
            continue
        if (study_id, step) not in due:
            due[study_id, step] = rung(definition.pruning, step, last=definition.objective.last_step)
        value = score(definition, report.values) if due[study_id, step] else None
        if value is not None:
            scores[study_id, report.claim.number, step] = value
            definitions[study_id] = definition
    return scores, definitions


def _judge(
    connection: Connection, definition: StudyDefinition, study_id: int, here: Sequence[Place], fresh: set[Place]
) -> dict[int, str]:
    """Stop those of the fresh scores of one study that rank behind the ones each rung keeps; say who is to stop, and why."""
    new: dict[int, list[int]] = {step: [] for step in sorted({step for _, _, step in here})}
    for place in here:
        if place in fresh:
            new[place[2]].append(place[1])
    sizes, standing = leases.at_rungs(connection, study_id, list(new), list({number for _, number, _ in here}))
    for step, numbers in new.items():
        kept = keep(definition.pruning, sizes[step]) if definition.pruning is not None else sizes[step]
        if numbers and kept < sizes[step] and definition.pruning is not None:
            why = reason(definition.pruning, step=step, kept=kept, size=sizes[step])
            stopped = leases.stop_behind(connection, study_id, step, numbers, rank=kept, reason=why)
            standing |= dict.fromkeys(stopped, why)
    return standing
