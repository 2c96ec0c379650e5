"""Deriving a suggestion again, from what the ledger holds of the trials by now.

A trial's row says how it ended and when (`seq`); `why` says up to which `seq` a model-based strategy had read, and which
trials were under way then. From both follows the history that it saw:
    waited at a rung      its scores up to there are known
    had come to a rung    likewise, though it was under way
    under way then        its point is taken, whatever has become of it
    reserved then         it had no point yet
    ended by the cut-off  as it ended
    failed by the cut-off and tried again since    it had failed
    all else              not there yet
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search.definition.planning import plan_of
from search.definition.schema import StudyDefinition
from search.records import Params, Suggestion, TrialRecord
from search.space.fallback import fallback_points
from search.space.parameters import identity
from search.space.plan import dedupe_key
from search.space.points import countable
from search.strategies.table import make

# How far apart two computers may get in the last digits of the same arithmetic.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Past:
    """What a study's ledger holds: its trials as they are now, and which had failed by the cut-off (number -> seq).

    `keys` are the points of a wholly discrete space that trials hold (number -> dedupe key).
    """

    trials: Sequence[TrialRecord] = ()
    failed: Mapping[int, int] = field(default_factory=dict)
    keys: Mapping[int, str] = field(default_factory=dict)


def history(past: Past, why: Mapping[str, Any]) -> list[TrialRecord]:
    """Return the trials as they were at the cut-off, in order of `seq`."""
    cutoff, waiting, reached = why["cutoff"], why.get("waiting", {}), why.get("reached", {})
    pending, reserved = frozenset(why.get("pending", ())), frozenset(why.get("reserved", ()))
    then = []
    for trial in past.trials:
        if trial.number in pending:
            then.append(_under_way(trial, {}))
        elif str(trial.number) in reached:
            then.append(_under_way(trial, _until(trial.curve, reached[str(trial.number)])))
        elif str(trial.number) in waiting:
            then.append(_waiting(trial, waiting[str(trial.number)]))
        elif trial.number in reserved:
            then.append(replace(_under_way(trial, {}), params=None, why={}))
        elif trial.seq <= cutoff:
            then.append(trial)
        elif trial.why.get("cutoff", -1) < past.failed.get(trial.number, -1):  # it had its point when it failed
            then.append(replace(trial, state="failed", values=None, score=None, seq=past.failed[trial.number]))
    return sorted(then, key=lambda trial: trial.seq)


def _under_way(trial: TrialRecord, curve: Mapping[int, float]) -> TrialRecord:
    """Return a trial as it was while this was known of it."""
    return replace(trial, state="running", values=None, score=None, curve=curve, seq=0)


def _until(curve: Mapping[int, float], step: int) -> dict[int, float]:
    return {at: score for at, score in curve.items() if at <= step}


def _waiting(trial: TrialRecord, step: int) -> TrialRecord:
    """Return a trial as it was when it waited at this rung."""
    curve = _until(trial.curve, step)
    score = curve.get(step, trial.score)
    return replace(trial, state="queued", waiting_step=step, values=None, score=score, curve=curve, seq=0)


def derive(definition: StudyDefinition, seed: int, *, draw: int, why: Mapping[str, Any], past: Past) -> Suggestion:
    """Suggest the point of a draw index again. A strategy that reads no history needs no `past`."""
    strategy = make(definition, seed)
    if not strategy.reads_history:
        return strategy.suggest(range(draw, draw + 1))[0]
    strategy.update(history(past, why))
    suggestion = strategy.suggest(range(why.get("batch", draw), draw + 1))[-1]
    if "instead_of" not in why or why["instead_of"] != suggestion.dedupe_key:
        return suggestion
    return _instead(definition, seed, draw, suggestion, past)


def _instead(definition: StudyDefinition, seed: int, draw: int, doubled: Suggestion, past: Past) -> Suggestion:
    """Find what stood in for a point that another trial had got first: the first one that is not another trial's.

    Whoever holds a point now got it before, or the trial in question would have it. One given by hand later, though it
    is held already, does not hold it.
    """
    own = {trial.number for trial in past.trials if trial.why.get("draw") == draw}
    taken = {key for number, key in past.keys.items() if number not in own}
    the_plan = plan_of(definition)
    points = (point for _, point in fallback_points(the_plan, countable(the_plan), seed=seed, index=draw))
    free = next((point for point in points if dedupe_key(point) not in taken), None)
    return doubled if free is None else replace(doubled, params=free)


def same(stored: Params, derived: Params) -> bool:
    """Say whether two points are the same, but for what another computer may round differently."""
    return stored.keys() == derived.keys() and all(_equal(stored[name], derived[name]) for name in stored)


def _equal(one: Any, other: Any) -> bool:  # noqa: ANN401  a parameter's value
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_ROUNDING, abs_tol=_ROUNDING * 1e-3)
    return identity(one) == identity(other)
