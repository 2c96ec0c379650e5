"""Asynchronous halving by promotion: what becomes of trials that were told to wait.

A trial that is behind at a rung waits there, queued, with the values it has; its worker goes on to others. It can be
claimed again, as its next attempt and uncharged, once the rung has it among those that go on.
"""

from collections.abc import Sequence
from dataclasses import replace

from models import leases, trials, waiting
from models.endings import Ending
from models.ledger import lock_counters
from models.session import Connection
from models.states import AttemptState, TrialState
from models.waiting import Wait
from search.definition.parse import StudyDefinition
from search.definition.prunings import Pruning, promotes
from search.pruners.table import keep
from search.scoring import chosen, score

_MAY_WAIT = frozenset({TrialState.COMPLETED, TrialState.PRUNED, TrialState.QUEUED})


def may_wait(pruning: Pruning | None, target: TrialState) -> bool:
    """Say whether a trial of whom its holder says this may have been told to wait, which then counts."""
    return promotes(pruning) and target in _MAY_WAIT


def settle(
    connection: Connection, study_id: int, definition: StudyDefinition, endings: Sequence[Ending]
) -> list[Ending]:
    """Have those wait who were told to, whatever their holders make of it; the study is locked.

    Who was promoted between that word and its own goes on as soon as it is claimed again.
    """
    pruning = definition.pruning
    if pruning is None or not promotes(pruning) or lock_counters(connection, study_id) is None:
        return list(endings)
    held = leases.held(connection, [ending.token for ending in endings])
    waiting.promote_all(connection, study_id, lambda size: keep(pruning, size))
    waits = waiting.waits_of(connection, study_id, [number for _, number, _ in held.values()])
    return [
        _settled(connection, study_id, definition, ending, waits[ending.number])
        if ending.token in held and ending.number in waits and may_wait(pruning, ending.target)
        else ending
        for ending in endings
    ]


def _settled(connection: Connection, study_id: int, definition: StudyDefinition, ending: Ending, wait: Wait) -> Ending:
    if not wait.promoted:
        values = ending.values or _measured(connection, study_id, ending.number, definition)
        waits = replace(ending, waiting_step=wait.step, values=values, score=score(definition, values))
        return waits if ending.target is TrialState.QUEUED else _back(waits, wait.reason)
    if ending.target is TrialState.QUEUED or _went_on(connection, study_id, ending, wait):
        return ending
    return _back(ending, "promoted")


def _back(ending: Ending, reason: str) -> Ending:
    return replace(ending, target=TrialState.QUEUED, reason=reason, attempt_state=AttemptState.RELEASED)


def _went_on(connection: Connection, study_id: int, ending: Ending, wait: Wait) -> bool:
    """Say whether this attempt has reported anything beyond the rung: then its end is no answer to the wait."""
    steps = [row.step for row in trials.reported(connection, study_id, ending.number, ending.attempt)]
    return not steps or steps[-1] > wait.step


def _measured(
    connection: Connection, study_id: int, number: int, definition: StudyDefinition
) -> dict[str, float] | None:
    kept = None
    for row in trials.list_measurements(connection, study_id, number):
        kept = chosen(definition, kept, row.values)
    return None if kept is None else dict(kept)
