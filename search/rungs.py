"""Pruning decisions: written once for each (trial, rung), in the transaction of the report that caused them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from models import leases
from models.session import Connection
from search.definition import StudyDefinition
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
    """Return the reason for each (study, number, step) whose trial is to stop; repeated reports get the same answer."""
    scores: dict[Place, float] = {}
    definitions: dict[int, StudyDefinition] = {}
    for report in reports:
        definition = report.claim.definition
        value = score(definition, report.values)
        if (
            definition.pruning is None
            or value is None
            or not rung(definition.pruning, report.step, last=definition.objective.epochs)
        ):
            continue
        scores[report.claim.study_id, report.claim.number, report.step] = value
        definitions[report.claim.study_id] = definition
    if not scores:
        return {}
    rows = [
        {"study_id": study_id, "number": number, "step": step, "score": value}
        for (study_id, number, step), value in scores.items()
    ]
    fresh = leases.add_rungs(connection, rows)
    for study_id, step in sorted({(study_id, step) for study_id, _, step in fresh}):
        _cut(connection, definitions[study_id], study_id, step, scores, fresh)
    standing = leases.stops(connection, sorted({place[:2] for place in scores}))
    return {place: standing[place[:2]] for place in scores if place[:2] in standing}


def _cut(
    connection: Connection,
    definition: StudyDefinition,
    study_id: int,
    step: int,
    scores: Mapping[Place, float],
    fresh: set[Place],
) -> None:
    """Stop those of the fresh trials at one rung that rank behind the ones it keeps."""
    pruning = definition.pruning
    if pruning is None:
        return
    size = leases.rung_size(connection, study_id, step)
    kept = keep(pruning, size)
    if kept >= size:
        return
    cutoff = leases.rung_cutoff(connection, study_id, step, kept)
    behind = [n for s, n, at in sorted(fresh) if (s, at) == (study_id, step) and scores[s, n, at] > cutoff]
    if behind:
        leases.stop_at_rung(connection, study_id, step, behind, reason(pruning, step=step, kept=kept, size=size))
