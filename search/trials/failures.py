"""Failure classes: what went wrong decides whether a trial runs again, and whose budget pays (never the study's)."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from models.endings import Ending
from models.states import AttemptState, TrialState


class Failure(StrEnum):
    """Why an attempt ended without a result."""

    USER_ERROR = "user_error"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    POISON = "poison"
    LANE = "lane"
    INFRASTRUCTURE = "infrastructure"


@dataclass(frozen=True, slots=True)
class _Policy:
    attempts: int
    attempt_state: AttemptState
    pause_seconds: float


_POLICIES = {
    Failure.USER_ERROR: _Policy(attempts=1, attempt_state=AttemptState.ENDED, pause_seconds=0),
    Failure.OUT_OF_MEMORY: _Policy(attempts=1, attempt_state=AttemptState.ENDED, pause_seconds=0),
    # Nothing was heard of it for too long, or it ran for too long: a hang may pass, a slow trial stays slow.
    Failure.TIMEOUT: _Policy(attempts=2, attempt_state=AttemptState.ENDED, pause_seconds=1),
    # The trainer died under this trial while its supervisor lived.
    Failure.POISON: _Policy(attempts=3, attempt_state=AttemptState.LOST, pause_seconds=1),
    # The trainer, or the worker, died under this trial and others: which of them it was is found by halving, so all run
    # again at once.
    # Halving a lane of any size ends long before this bound.
    Failure.LANE: _Policy(attempts=100, attempt_state=AttemptState.LOST, pause_seconds=0),
    # The worker itself fell silent while it held this trial alone: most likely no fault of the trial.
    Failure.INFRASTRUCTURE: _Policy(attempts=5, attempt_state=AttemptState.LOST, pause_seconds=1),
}
_PAUSE_CAP_SECONDS = 600.0
_REASON_CHARACTERS = 500


def after(
    failure: Failure,
    number: int,
    attempt: int,
    token: str,
    now: datetime,
    *,
    strikes: int,
    message: str | None = None,
    error: str | None = None,
) -> Ending:
    """Say how an attempt that failed ends: queued for another one after a jittered pause, or failed for good.

    `strikes` are the trial's earlier attempts that failed in the same way. Attempts that were given back are none,
    so a worker may be restarted under a trial any number of times. `message`, one line for people, follows the class
    in the reason of a trial that failed for good; a trial that runs again carries the class alone, because strikes
    are counted by it.
    """
    policy = _POLICIES[failure]
    again = strikes + 1 < policy.attempts
    longest = min(_PAUSE_CAP_SECONDS, policy.pause_seconds * 2.0**strikes)
    pause = timedelta(seconds=random.uniform(0, longest)) if longest else None
    return Ending(
        number=number,
        attempt=attempt,
        token=token,
        target=TrialState.QUEUED if again else TrialState.FAILED,
        reason=failure.value if again or message is None else f"{failure}: {message}"[:_REASON_CHARACTERS],
        error=error,
        attempt_state=policy.attempt_state,
        next_run_at=now + pause if again and pause else None,
    )
