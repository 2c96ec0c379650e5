"""The life of a study and of a trial: the states, and the moves between them that are allowed.

ARCHITECTURE.md draws both. A move that is not in the table does not happen: every state change is one
guarded UPDATE whose WHERE names the states it may leave.
"""

from collections.abc import Mapping
from enum import StrEnum

# The origins of trials that are no part of the search: run again for the verdict, and run elsewhere.
REPLICATE, IMPORTED = "replicate", "imported"


class StudyState(StrEnum):
    """Where a study stands."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class TrialState(StrEnum):
    """Where a trial stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    """How one execution of a trial stands or ended."""

    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"
    RELEASED = "released"


STUDY_MOVES: Mapping[StudyState, frozenset[StudyState]] = {
    StudyState.RUNNING: frozenset({StudyState.PAUSED, StudyState.COMPLETED, StudyState.CANCELLED, StudyState.FAILED}),
    # A paused study still ends: what runs goes on, and may be its last trial.
    StudyState.PAUSED: frozenset({StudyState.RUNNING, StudyState.COMPLETED, StudyState.CANCELLED, StudyState.FAILED}),
    # Raising the budget reopens a study that ran out of trials.
    StudyState.COMPLETED: frozenset({StudyState.RUNNING}),
    StudyState.CANCELLED: frozenset(),
    # By a person alone, who retries one of its trials.
    StudyState.FAILED: frozenset({StudyState.RUNNING}),
}

# A study in one of these may still change by itself.
LIVE_STUDY = frozenset({StudyState.RUNNING, StudyState.PAUSED})

FINAL_TRIAL_STATES = frozenset(
    {TrialState.COMPLETED, TrialState.PRUNED, TrialState.DIVERGED, TrialState.FAILED, TrialState.CANCELLED}
)

TRIAL_MOVES: Mapping[TrialState, frozenset[TrialState]] = {
    TrialState.QUEUED: frozenset({TrialState.RUNNING, TrialState.CANCELLED, TrialState.PRUNED}),
    TrialState.RUNNING: FINAL_TRIAL_STATES | {TrialState.QUEUED},
    TrialState.COMPLETED: frozenset(),
    TrialState.PRUNED: frozenset(),
    TrialState.DIVERGED: frozenset(),
    # By a person alone: POST /trials/{id}:retry.
    TrialState.FAILED: frozenset({TrialState.QUEUED}),
    TrialState.CANCELLED: frozenset(),
}


def sources(target: TrialState) -> tuple[TrialState, ...]:
    """List the states from which a trial may move to `target`."""
    return tuple(state for state, targets in TRIAL_MOVES.items() if target in targets)


def study_sources(target: StudyState) -> tuple[StudyState, ...]:
    """List the states from which a study may move to `target`."""
    return tuple(state for state, targets in STUDY_MOVES.items() if target in targets)
