"""Pruning decisions: written once for each (trial, rung), in the transaction of the report that caused them.

`search.pruners.simulate` decides the same without a database.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from models import rungs
from models.session import Connection
from search.definition.parse import StudyDefinition
from search.definition.prunings import Pruning, comparing, promotes
from search.pareto import Losses
from search.pruners.ranking import standings
from search.pruners.table import SOLITARY, alone, bracket, compares_at, keep, reason, rung, watched

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


@dataclass(frozen=True, slots=True)
class _Score:
    """What a trial has at a rung, and what its own rule says of that; `said` of one that needs the whole curve is open."""

    losses: Losses
    bracket: int
    said: str | None


def decide(connection: Connection, reports: Sequence[_Report]) -> dict[Place, str]:
    """Return the reason for each (study, number, step) whose trial is to stop; repeated reports get the same answer.

    Every score of the call counts at its rung before anyone is judged. Who is to stop is told so with each of its
    reports at a rung, be the decision from this call or an earlier one.
    """
    scores, prunings = _scores(reports)
    if not scores:
        return {}
    fresh = rungs.add_rungs(connection, [_row(place, score) for place, score in scores.items()])
    decided: dict[Place, str] = {}
    for study_id in sorted(prunings):
        here = {place: score for place, score in scores.items() if place[0] == study_id}
        standing = _judge(connection, prunings[study_id], study_id, here, fresh)
        decided |= {place: standing[place[1]] for place in here if place[1] in standing}
    return decided


def _scores(reports: Sequence[_Report]) -> tuple[dict[Place, _Score], dict[int, Pruning]]:
    """Return the scores at which pruning looks, and how their studies prune."""
    scores: dict[Place, _Score] = {}
    prunings: dict[int, Pruning] = {}
    for report in reports:
        definition, number = report.claim.definition, report.claim.number
        pruning = definition.pruning
        if pruning is None:
            continue
        place = bracket(pruning, number, seed=definition.search.seed or 0)
        if not rung(pruning, report.step, last=definition.objective.last_step, bracket=place):
            continue
        losses = watched(definition, report.values)
        if losses is not None:
            said = alone(pruning, losses) if _by_latest(pruning) else None
            scores[report.claim.study_id, number, report.step] = _Score(losses, place, said)
            prunings[report.claim.study_id] = pruning
    return scores, prunings


def _by_latest(pruning: Pruning) -> bool:
    return pruning.kind in SOLITARY and SOLITARY[pruning.kind].latest


def _row(place: Place, score: _Score) -> dict[str, Any]:
    study_id, number, step = place
    row = {"study_id": study_id, "number": number, "step": step, "bracket": score.bracket, "score": score.losses[0]}
    several = list(score.losses) if len(score.losses) > 1 else None
    return row | {"losses": several, "stop": score.said is not None, "reason": score.said}


def _judge(
    connection: Connection, pruning: Pruning, study_id: int, here: Mapping[Place, _Score], fresh: set[Place]
) -> dict[int, str]:
    """Stop those of the fresh scores of one study that its rule is against; say who is to stop, and why."""
    new = [place for place in here if place in fresh]
    if pruning.kind not in SOLITARY:
        return _compare(connection, pruning, study_id, here, dict.fromkeys(new))
    said = _by_themselves(connection, pruning, study_id, new)
    if comparing(pruning) is not None:
        return _compare(connection, pruning, study_id, here, said)
    rungs.stop_these(connection, study_id, [_stop(place, why) for place, why in said.items()])
    return rungs.stops(connection, study_id, _numbers(here))


def _stop(place: Place, why: str) -> dict[str, Any]:
    return {"number": place[1], "step": place[2], "reason": why}


def _by_themselves(connection: Connection, pruning: Pruning, study_id: int, new: Sequence[Place]) -> dict[Place, str]:
    """Ask the rule that looks at a trial's whole curve, where there is one, about each new measurement."""
    if not new or _by_latest(pruning):
        return {}
    curves = rungs.curves(connection, study_id, dict.fromkeys((number for _, number, _ in new), 0))
    said = {
        place: alone(pruning, [score for step, score in curves[place[1]].items() if step <= place[2]]) for place in new
    }
    return {place: why for place, why in said.items() if why is not None}


def _compare(
    connection: Connection,
    pruning: Pruning,
    study_id: int,
    here: Mapping[Place, _Score],
    new: Mapping[Place, str | None],
) -> dict[int, str]:
    """Rank new scores, place by place, among all that are there; say who is to stop, by these or earlier decisions."""
    groups: dict[tuple[int, int], list[int]] = {}
    for place in sorted(new, key=lambda place: place[2]):
        if compares_at(pruning, place[2], bracket=here[place].bracket):
            groups.setdefault((place[2], here[place].bracket), []).append(place[1])
    if any(len(score.losses) > 1 for score in here.values()):
        return _compare_losses(connection, pruning, study_id, here, groups)
    sizes, standing = rungs.at_rungs(connection, study_id, list(groups), _numbers(here))
    # Whatever a trial's own rule says, it says it in the same words of every trial.
    said = next((f"{why}; " for why in new.values() if why is not None), "")
    for (step, lane), numbers in groups.items():
        size = sizes[step, lane]
        kept = keep(pruning, size)
        if kept < size:
            why = said + reason(pruning, step=step, kept=kept, size=size, bracket=lane)
            stopped = rungs.stop_behind(connection, study_id, (step, lane), numbers, rank=kept, reason=why)
            standing |= dict.fromkeys(stopped, why)
        if promotes(pruning):
            rungs.promote(connection, study_id, step, rank=kept)
    return standing


def _compare_losses(
    connection: Connection,
    pruning: Pruning,
    study_id: int,
    here: Mapping[Place, _Score],
    groups: Mapping[tuple[int, int], Sequence[int]],
) -> dict[int, str]:
    """Do the same where trials have several losses.

    What another transaction has not committed yet is not seen; who is judged here has its row from this one.
    """
    stopped = []
    ranked = rungs.losses_at_rungs(connection, study_id, list(groups)) if groups else {}
    for (step, lane), losses in ranked.items():
        kept, size = keep(pruning, len(losses)), len(losses)
        for number, standing in standings(losses, groups[step, lane]).items():
            if standing.rank > kept:
                why = reason(pruning, step=step, kept=kept, size=size, standing=standing, bracket=lane)
                stopped.append(_stop((study_id, number, step), why))
    rungs.stop_these(connection, study_id, stopped)
    return rungs.stops(connection, study_id, _numbers(here))


def _numbers(places: Iterable[Place]) -> list[int]:
    return list({number for _, number, _ in places})
