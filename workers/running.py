"""One trial on one trainer: relay what it reports to the ledger, carry decisions back, and say how it ended."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from models.session import Unavailable
from models.states import TrialState
from search.definition import StudyDefinition
from search.dispatch import Claim, Dispatcher, Report, Result, Verdict
from search.failures import Failure
from search.scoring import score
from training.protocol import Message
from workers.trainer import GRACE_SECONDS, Trainer, TrainerDied

log = logging.getLogger("tuneup.running")

STALE = "stale"
SHUTDOWN = "shutdown"
_LOOK_SECONDS = 0.2
# What a trainer gives as the reason of a failure that is not its trial's own; any other reason is a user's error.
_FAILURES = {"out_of_memory": Failure.OUT_OF_MEMORY, "device": Failure.INFRASTRUCTURE}

# Why a trial is told to stop from outside, and what it then becomes. Nothing is written for a stale one.
StopAsked = Callable[[], str | None]


@dataclass(slots=True)
class Run:
    """The state of one trial while it trains."""

    claim: Claim
    trainer: Trainer
    dispatcher: Dispatcher
    stop_asked: StopAsked
    started: bool = False
    unsent: list[Report] = field(default_factory=list)
    values: Mapping[str, float] | None = None
    stopping: str | None = None
    pruned: bool = False
    deadline: float | None = None

    def follow(self) -> Result | None:
        """Train to the end. Return the result to be written, or None when the lease is no longer ours.

        Raise TrainerDied when the process ended under the trial, on its own or because it ignored a stop; it never
        got to the trial unless `started`.
        """
        self.trainer.send(start_message(self.claim))
        self.started = True
        while True:
            self._look_for_stop()
            message = self.trainer.receive(timeout=_LOOK_SECONDS)
            if message is None or message.get("trial") != self.claim.id:
                continue
            if message["type"] == "measurement":
                self._relay(message)
            elif message["type"] == "done":
                return self._result(message)

    def _look_for_stop(self) -> None:
        if self.stopping is None:
            asked = self.stop_asked()
            if asked is not None:
                self._stop(asked)
        elif self.deadline is not None and time.monotonic() > self.deadline:
            raise TrainerDied(f"the trainer did not stop within {GRACE_SECONDS:.0f} s of being asked to")

    def _stop(self, reason: str) -> None:
        self.stopping = reason
        self.deadline = time.monotonic() + GRACE_SECONDS
        self.trainer.send({"type": "stop", "trial": self.claim.id, "reason": reason})

    def _relay(self, message: Message) -> None:
        values = {name: float(value) for name, value in message["values"].items()}
        step = int(message["step"])
        self.values = _chosen(self.claim.definition, self.values, values)
        self.unsent.append(Report(self.claim, step, values))
        verdict = self._send_reports()
        self.trainer.send(
            {"type": "verdict", "trial": self.claim.id, "step": step, "stop": verdict.stop, "reason": verdict.reason}
        )
        if verdict.stop and self.stopping is None:
            self.stopping = verdict.reason or STALE
            self.pruned = verdict.accepted
            self.deadline = time.monotonic() + GRACE_SECONDS

    def _send_reports(self) -> Verdict:
        """Write what was reported. While the database is away training goes on, and the reports wait here."""
        try:
            verdicts = self.dispatcher.report(self.unsent)
        except Unavailable as error:
            log.warning("reports of trial %s wait: %s", self.claim.id, error)
            return Verdict(accepted=True, stop=False, reason=None)
        self.unsent.clear()
        return next((verdict for verdict in verdicts if verdict.stop), verdicts[-1])

    def _result(self, message: Message) -> Result | None:
        self._send_rest()
        if self.stopping == STALE:
            return None
        outcome, reason, error = message["outcome"], message.get("reason"), message.get("error")
        if outcome == "completed":
            return Result(self.claim, TrialState.COMPLETED, values=self.values)
        if outcome == "diverged":
            return Result(self.claim, TrialState.DIVERGED, reason=reason)
        if outcome == "failed":
            failure = _FAILURES.get(reason or "", Failure.USER_ERROR)
            said = None if reason == failure.value else reason
            return Result(self.claim, TrialState.FAILED, failure=failure, reason=said, error=error)
        return self.stopped()

    def _send_rest(self) -> None:
        """Write what could not be written while the database was away; only a shutdown ends the wait."""
        while self.unsent and self.stopping not in {STALE, SHUTDOWN}:
            verdict = self._send_reports()
            if verdict.reason == STALE:
                self.stopping = STALE
            elif self.unsent:
                time.sleep(_LOOK_SECONDS)
                self.stopping = self.stop_asked() or self.stopping

    def stopped(self) -> Result | None:
        """Say what a trial becomes that obeyed a stop: pruned, back to the queue at shutdown, else cancelled."""
        if self.stopping == STALE:
            return None
        if self.pruned:
            return Result(self.claim, TrialState.PRUNED, values=self.values, reason=self.stopping)
        if self.stopping == SHUTDOWN:
            return Result(self.claim, TrialState.QUEUED, reason="released")
        return Result(self.claim, TrialState.CANCELLED, reason=self.stopping)


def start_message(claim: Claim) -> Message:
    """Say to a trainer what to run."""
    return {
        "type": "start",
        "trial": claim.id,
        "attempt": claim.attempt,
        "objective": claim.definition.objective.model_dump(mode="json"),
        "params": dict(claim.params),
        "seed": claim.seed,
        "wait": claim.definition.pruning is not None,
    }


def _chosen(
    definition: StudyDefinition, kept: Mapping[str, float] | None, new: Mapping[str, float]
) -> Mapping[str, float]:
    """Return the values a trial has after a measurement: the last ones, or with `report: best` the best ones."""
    if definition.report == "last" or kept is None:
        return new
    before, now = score(definition, kept), score(definition, new)
    return new if before is None or (now is not None and now < before) else kept
