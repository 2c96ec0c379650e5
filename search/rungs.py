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
            or not rung(definition.pruning, report.step, last=definition.objective.last_step)
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
    standing: dict[tuple[int, int], str] = {}
    for study_id, step in sorted({(study_id, step) for study_id, _, step in scores}):
        here = [number for study, number, at in scores if (study, at) == (study_id, step)]
        new = [number for number in here if (study_id, number, step) in fresh]
        decided = _judge(connection, definitions[study_id], study_id, step, here, new)
        standing |= {(study_id, number): why for number, why in decided.items()}
    return {place: standing[place[:2]] for place in scores if place[:2] in standing}


def _judge(
    connection: Connection,
    definition: StudyDefinition,
    study_id: int,
    step: int,
    here: Sequence[int],
    new: Sequence[int],
) -> dict[int, str]:
    """Stop those of the new trials at one rung that rank behind the ones it keeps; say who of all here is to stop."""
    size, standing = leases.at_rung(connection, study_id, step, here)
    kept = keep(definition.pruning, size) if definition.pruning is not None else size
    if not new or kept >= size or definition.pruning is None:
        return standing
    why = reason(definition.pruning, step=step, kept=kept, size=size)
    return standing | dict.fromkeys(leases.stop_behind(connection, study_id, step, new, rank=kept, reason=why), why)
