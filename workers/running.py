"""One trial from its claim to its result: what it has said, why it is to stop, and what it ends as.

A `Run` has no loop of its own and writes nothing: a shift lets it hear what its trainer says, and asks it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.states import TrialState
from search.definition.kinds import RecipeObjective
from search.definition.parse import StudyDefinition
from search.pruners.table import rungs
from search.scoring import chosen, missing
from search.trials.dispatch import Claim, Kept, Ran, Report, Result, Verdict
from search.trials.failures import Failure
from training.protocol import RELEASED, Message
from workers.checkpoints import Shelf
from workers.objectives import Registry, told
from workers.outcomes import Loss, Outcome, failure_of, read_outcome
from workers.patience import Patience
from workers.trainer import GRACE_SECONDS

log = logging.getLogger("tuneup.running")

# Why a trial is told to stop that is neither cancelled nor pruned. Nothing is written for a stale one.
STALE = "stale"
SHUTDOWN = "shutdown"
YIELDED = "yielded"
BROKEN = "lane"
TIMED_OUT = "timeout"
# Who is told so runs again, uncharged, and this is what its attempt is said to have ended as.
_GIVEN_BACK = {SHUTDOWN: "released", YIELDED: YIELDED, BROKEN: BROKEN}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a worker adds to a claim: its commands, where checkpoints and data lie, how long a shutdown may take."""

    registry: Registry = field(default_factory=dict)
    shelf: Shelf | None = None
    data: Path | None = None
    grace_seconds: float = GRACE_SECONDS


@dataclass(frozen=True, slots=True)
class Manner:
    """How trials of a study are trained: whether they may share a trainer, and after which steps it holds for a verdict."""

    lane: bool
    wait: bool | frozenset[int]

    def holds_at(self, step: int) -> bool:
        """Say whether the trainer holds after the measurement of this step."""
        return self.wait if isinstance(self.wait, bool) else step in self.wait


def manner_of(definition: StudyDefinition) -> Manner:
    """Return how a study's trials are trained. Users' commands run one at a time, and hear every verdict."""
    objective, pruning = definition.objective, definition.pruning
    wait: bool | frozenset[int] = pruning is not None
    if isinstance(objective, RecipeObjective):
        wait = frozenset(rungs(pruning, last=objective.epochs))
    return Manner(lane=definition.in_population, wait=wait)


@dataclass(slots=True)
class Run:
    """What is known of one trial while it is held. All times are of the shift's watch."""

    claim: Claim
    terms: Terms = field(default_factory=Terms)
    started: bool = False
    patience: Patience | None = None
    values: Mapping[str, float] | None = None
    unkept: Kept | None = None
    stopping: str | None = None
    overdue: str | None = None
    pruned: bool = False
    # It was told to stop at a rung at which it waits for promotion.
    waits: bool = False
    deadline: float | None = None
    outcome: Outcome | None = None
    loss: Loss | None = None

    def set_out(self, now: float) -> None:
        """Note that the trainer has it."""
        self.started = True
        self.patience = Patience(self.claim.definition.timeouts, now=now)

    def measured(self, step: int, values: Mapping[str, float], now: float) -> Report:
        """Take a measurement; return it for the ledger."""
        self._moved(now)
        taken = {name: float(value) for name, value in values.items()}
        self.values = chosen(self.claim.definition, self.values, taken)
        return Report(self.claim, int(step), taken)

    def hear(self, message: Message, now: float) -> None:
        """Take any other message about this trial; each shows progress, and `alive` no more than that."""
        self._moved(now)
        kind = message["type"]
        if kind == "checkpoint":
            self.unkept = self._kept(message)
        elif kind == "resumed":
            self._resume(int(message["step"]))
        elif kind == "done":
            self.outcome = read_outcome(message)

    def take_verdict(self, verdict: Verdict, now: float) -> None:
        """Take a verdict that says stop; the first word counts."""
        if self.stopping is None:
            self.waits = verdict.waits
            self._stop(verdict.reason or STALE, now)
            self.pruned = verdict.accepted and not verdict.waits

    def ask_to_stop(self, reason: str, now: float) -> Message:
        """Have it stop; return what the trainer is to be told. Only who runs again needs a checkpoint."""
        self._stop(reason, now)
        return self.stop_message(keep=reason in _GIVEN_BACK)

    def stop_message(self, *, keep: bool) -> Message:
        """Say to its trainer that it is to stop, and whether it is to write a checkpoint first."""
        return {"type": "stop", "trial": self.claim.id, "reason": self.stopping, "checkpoint": keep}

    def run_out(self, why: str, now: float) -> Message:
        """Have it stop because its time is up; return what the trainer is to be told."""
        self.overdue = why
        return self.ask_to_stop(TIMED_OUT, now)

    def late(self, now: float) -> str | None:
        """Say which timeout has passed by then; None for neither, and for who is to stop anyway."""
        if self.patience is None or self.stopping is not None:
            return None
        return self.patience.overlong(now) or self.patience.silent(now)

    def result(self) -> Result | None:
        """Say what it ends as, once it is over; None when the lease is no longer ours."""
        if self.stopping == STALE:
            return None
        if self.loss is not None:
            return self._lost(self.loss)
        return None if self.outcome is None else self._ended(self.outcome)

    def _moved(self, now: float) -> None:
        if self.patience is not None:
            self.patience.moved(now)

    def _stop(self, reason: str, now: float) -> None:
        self.stopping = reason
        self.deadline = now + self._grace(reason)

    def _grace(self, reason: str) -> float:
        if reason == SHUTDOWN:
            return self.terms.grace_seconds
        # All of a lane are told at once, and each writes a checkpoint.
        kept = self.waits or reason in _GIVEN_BACK
        return max(GRACE_SECONDS, self.terms.grace_seconds) if kept else GRACE_SECONDS

    def _resume(self, step: int) -> None:
        """Go on with the values that the trial had when this checkpoint was written."""
        self.values = next((kept.values for kept in self.claim.checkpoints if kept.step == step), None)

    def _kept(self, message: Message) -> Kept | None:
        shelf = self.terms.shelf
        path = shelf.relative(self.claim, message["path"]) if shelf is not None else None
        if path is None:
            log.warning("trial %s: %s is no place for a checkpoint; it is not kept", self.claim.id, message["path"])
            return None
        step, sha256, size = int(message["step"]), str(message["sha256"]), int(message["bytes"])
        return Kept(self.claim, step, path, sha256, size, self.values)

    def _ended(self, ended: Outcome) -> Result | None:
        if ended.outcome == "completed":
            return self._completed(ended)
        if ended.outcome == "diverged":
            return Result(self.claim, TrialState.DIVERGED, reason=ended.reason, ran=ended.ran)
        if ended.outcome == "failed":
            failure, said = failure_of(ended.reason)
            return self._failed(failure, said, ended.error, ended.ran)
        if ended.outcome == RELEASED and self.stopping is None:
            log.info("trial %s was given back by its trainer: %s", self.claim.id, ended.reason)
            return self._queued(BROKEN, ended.ran)
        return self._stopped(ended.ran)

    def _completed(self, ended: Outcome) -> Result:
        """A trial without a value of what is optimized is no result: its code reports something else."""
        lacking = missing(self.claim.definition, self.values)
        if lacking:
            said = f"it completed without a value of {', '.join(map(repr, lacking))}, which is to be optimized"
            return self._failed(Failure.USER_ERROR, said, None, ended.ran)
        return Result(self.claim, TrialState.COMPLETED, values=self.values, reason=ended.reason, ran=ended.ran)

    def _lost(self, loss: Loss) -> Result | None:
        """No strike where we asked for it."""
        ran = Ran(lane=None, population=loss.shared, seconds=0.0, alone=None) if loss.shared > 1 else None
        if loss.failure is Failure.TIMEOUT:
            return self._failed(loss.failure, loss.said, loss.said, None)
        if self.stopping is not None:
            return self._stopped(ran)
        if loss.failure is None:
            return self._queued(loss.said, ran)
        return Result(self.claim, TrialState.QUEUED, failure=loss.failure, error=loss.said, ran=ran)

    def _stopped(self, ran: Ran | None) -> Result | None:
        """Say what a trial becomes that obeyed a stop: failed, pruned, back to the queue, else cancelled."""
        if self.overdue is not None:
            return self._failed(Failure.TIMEOUT, self.overdue, self.overdue, ran)
        if self.pruned:
            return Result(self.claim, TrialState.PRUNED, values=self.values, reason=self.stopping, ran=ran)
        if self.waits:
            return Result(self.claim, TrialState.QUEUED, values=self.values, reason=self.stopping, ran=ran)
        if self.stopping in _GIVEN_BACK:
            return self._queued(_GIVEN_BACK[self.stopping], ran)
        return Result(self.claim, TrialState.CANCELLED, reason=self.stopping, ran=ran)

    def _queued(self, reason: str, ran: Ran | None) -> Result:
        return Result(self.claim, TrialState.QUEUED, reason=reason, ran=ran)

    def _failed(self, failure: Failure, reason: str | None, error: str | None, ran: Ran | None) -> Result:
        return Result(self.claim, TrialState.FAILED, failure=failure, reason=reason, error=error, ran=ran)


def start_message(claim: Claim, terms: Terms, manner: Manner) -> dict[str, Any]:
    """Say to a trainer what to run. Raise KeyError for an objective that is not registered here."""
    leg = {} if claim.leg is None else {"begins": claim.leg.begins, "ends": claim.leg.ends}
    return {
        "type": "start",
        "trial": claim.id,
        "attempt": claim.attempt,
        "objective": {**told(claim.definition.objective, terms.registry), **leg},
        "params": claim.definition.objective.handed(claim.params),
        "seed": claim.seed,
        "lane": manner.lane,
        "wait": manner.wait if isinstance(manner.wait, bool) else sorted(manner.wait),
        "checkpoints": terms.shelf.offer(claim, make=not manner.lane) if terms.shelf is not None else None,
        "data": None if terms.data is None else str(terms.data),
    }
