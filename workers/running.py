"""One trial on one trainer: relay what it reports to the ledger, carry decisions back, and say how it ended."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.session import Unavailable
from models.states import TrialState
from search.dispatch import Claim, Dispatcher, Kept, Report, Result, Verdict
from search.failures import Failure
from search.hygiene import escaped
from search.scoring import chosen, score
from training.protocol import DEVICE, OUT_OF_MEMORY, Message
from workers.checkpoints import Shelf
from workers.objectives import Registry, told
from workers.patience import Patience
from workers.trainer import GRACE_SECONDS, Trainer, TrainerDied

log = logging.getLogger("tuneup.running")

STALE = "stale"
SHUTDOWN = "shutdown"
_LOOK_SECONDS = 0.2
# How the reason of a failure begins that is not its trial's own; with any other it is a user's error.
_FAILURES = {OUT_OF_MEMORY: Failure.OUT_OF_MEMORY, DEVICE: Failure.INFRASTRUCTURE}

# Why a trial is told to stop from outside, and what it then becomes. Nothing is written for a stale one.
StopAsked = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a worker adds to a claim: its commands, where checkpoints and data lie, how long a shutdown may take."""

    registry: Registry = field(default_factory=dict)
    shelf: Shelf | None = None
    data: Path | None = None
    grace_seconds: float = GRACE_SECONDS


@dataclass(slots=True)
class Run:
    """The state of one trial while it trains."""

    claim: Claim
    trainer: Trainer
    dispatcher: Dispatcher
    stop_asked: StopAsked
    terms: Terms = field(default_factory=Terms)
    started: bool = False
    unsent: list[Report] = field(default_factory=list)
    unkept: Kept | None = None
    values: Mapping[str, float] | None = None
    stopping: str | None = None
    pruned: bool = False
    deadline: float | None = None
    patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self.patience = Patience(self.claim.definition.timeouts)

    def follow(self) -> Result | None:
        """Train to the end. Return the result to be written, or None when the lease is no longer ours.

        Raise TrainerDied when the process ended under the trial, on its own or because it ignored a stop; it never
        got to the trial unless `started`.
        """
        self.trainer.send(start_message(self.claim, self.terms))
        self.started = True
        while True:
            self._look_for_stop()
            message = self.trainer.receive(timeout=_LOOK_SECONDS)
            if message is not None and message.get("trial") == self.claim.id:
                if message["type"] == "done":
                    return self._result(message)
                self._hear(message)
            late = self.patience.spent(silent=message is None)
            if late is not None and self.stopping is None:
                return self._timed_out(late)

    def send_rest(self) -> None:
        """Write what could not be written while the database was away; a shutdown tries it once more."""
        while (self.unsent or self.unkept) and self.stopping != STALE:
            if self._send().reason == STALE:
                self.stopping = STALE
            if not (self.unsent or self.unkept) or self.stopping == SHUTDOWN:
                return
            time.sleep(_LOOK_SECONDS)
            self.stopping = self.stop_asked() or self.stopping

    def _look_for_stop(self) -> None:
        if self.stopping is None:
            asked = self.stop_asked()
            if asked is not None:
                self._stop(asked)
        elif self.deadline is not None and time.monotonic() > self.deadline:
            raise TrainerDied(f"the trainer did not stop within {self._grace():g} s of being asked to")

    def _stop(self, reason: str) -> None:
        self._stops(reason)
        # Only who runs again needs a checkpoint.
        message = {"type": "stop", "trial": self.claim.id, "reason": reason, "checkpoint": reason == SHUTDOWN}
        self.trainer.send(message)

    def _stops(self, reason: str) -> None:
        self.stopping = reason
        self.deadline = time.monotonic() + self._grace()

    def _grace(self) -> float:
        return self.terms.grace_seconds if self.stopping == SHUTDOWN else GRACE_SECONDS

    def _hear(self, message: Message) -> None:
        """Act on what shows progress; `alive` shows no more than that."""
        self.patience.moved()
        act = _ACTS.get(message["type"])
        if act is not None:
            act(self, message)

    def _resume(self, message: Message) -> None:
        """Go on with the values that the trial had when this checkpoint was written."""
        step = int(message["step"])
        self.values = next((kept.values for kept in self.claim.checkpoints if kept.step == step), None)

    def _relay(self, message: Message) -> None:
        values = {name: float(value) for name, value in message["values"].items()}
        step = int(message["step"])
        self.values = chosen(self.claim.definition, self.values, values)
        self.unsent.append(Report(self.claim, step, values))
        verdict = self._send()
        self.trainer.send(
            {"type": "verdict", "trial": self.claim.id, "step": step, "stop": verdict.stop, "reason": verdict.reason}
        )
        if verdict.stop and self.stopping is None:
            self._stops(verdict.reason or STALE)
            self.pruned = verdict.accepted

    def _keep(self, message: Message) -> None:
        """Have the ledger know of a checkpoint, after the measurements that it stands on."""
        shelf = self.terms.shelf
        path = shelf.relative(self.claim, message["path"]) if shelf is not None else None
        if path is None:
            log.warning("trial %s: %s is no place for a checkpoint; it is not kept", self.claim.id, message["path"])
            return
        step, sha256, size = int(message["step"]), str(message["sha256"]), int(message["bytes"])
        self.unkept = Kept(self.claim, step, path, sha256, size, self.values)
        verdict = self._send()
        if verdict.stop and self.stopping is None:
            self._stop(verdict.reason or STALE)
            self.pruned = verdict.accepted

    def _send(self) -> Verdict:
        """Write what was reported and kept. While the database is away training goes on, and it waits here."""
        with self.patience.ours():
            try:
                verdict = self._write_reports()
                if self.unkept is not None and not verdict.stop:
                    verdict = self._write_checkpoint(self.unkept, verdict)
                self.unkept = None
            except Unavailable as error:
                log.warning("what trial %s reported waits: %s", self.claim.id, error)
                verdict = _GO_ON
        return verdict

    def _write_reports(self) -> Verdict:
        if not self.unsent:
            return _GO_ON
        verdicts = self.dispatcher.report(self.unsent)
        self.unsent.clear()
        return next((verdict for verdict in verdicts if verdict.stop), verdicts[-1])

    def _write_checkpoint(self, kept: Kept, verdict: Verdict) -> Verdict:
        return verdict if self.dispatcher.keep(kept) else _NO_LONGER_OURS

    def _result(self, message: Message) -> Result | None:
        self.send_rest()
        if self.stopping == STALE:
            return None
        # Users' code may say anything; no database stores NUL.
        outcome, reason, error = message["outcome"], _storable(message.get("reason")), _storable(message.get("error"))
        if outcome == "completed":
            return self._completed(reason)
        if outcome == "diverged":
            return Result(self.claim, TrialState.DIVERGED, reason=reason)
        if outcome == "failed":
            failure, said = _failure(reason)
            return Result(self.claim, TrialState.FAILED, failure=failure, reason=said, error=error)
        return self.stopped()

    def _completed(self, reason: str | None) -> Result:
        """A trial without a value of what is optimized is no result: its code reports something else."""
        definition = self.claim.definition
        if score(definition, self.values) is None:
            said = f"it completed without a value of {definition.objective_metric.name!r}, which is to be optimized"
            return Result(self.claim, TrialState.FAILED, failure=Failure.USER_ERROR, reason=said)
        return Result(self.claim, TrialState.COMPLETED, values=self.values, reason=reason)

    def _timed_out(self, why: str) -> Result | None:
        # First, so that it trains no further while the database is away.
        self.trainer.kill()
        self.send_rest()
        if self.stopping == STALE:
            return None
        return Result(self.claim, TrialState.FAILED, failure=Failure.TIMEOUT, reason=why, error=why)

    def stopped(self) -> Result | None:
        """Say what a trial becomes that obeyed a stop: pruned, back to the queue at shutdown, else cancelled."""
        if self.stopping == STALE:
            return None
        if self.pruned:
            return Result(self.claim, TrialState.PRUNED, values=self.values, reason=self.stopping)
        if self.stopping == SHUTDOWN:
            return Result(self.claim, TrialState.QUEUED, reason="released")
        return Result(self.claim, TrialState.CANCELLED, reason=self.stopping)


def _failure(reason: str | None) -> tuple[Failure, str | None]:
    """Return the class of a failure, and what its reason says beside that."""
    name, _, rest = (reason or "").partition(": ")
    failure = _FAILURES.get(name)
    if failure is None:
        return Failure.USER_ERROR, reason
    return failure, rest or (None if name == failure.value else name)


_GO_ON = Verdict(accepted=True, stop=False, reason=None)
_NO_LONGER_OURS = Verdict(accepted=False, stop=True, reason=STALE)
_ACTS: Mapping[str, Callable[[Run, Message], None]] = {
    "measurement": Run._relay,  # noqa: SLF001  our own table of our own methods
    "checkpoint": Run._keep,  # noqa: SLF001
    "resumed": Run._resume,  # noqa: SLF001
}


def start_message(claim: Claim, terms: Terms) -> dict[str, Any]:
    """Say to a trainer what to run. Raise KeyError for an objective that is not registered here."""
    return {
        "type": "start",
        "trial": claim.id,
        "attempt": claim.attempt,
        "objective": told(claim.definition.objective, terms.registry),
        "params": dict(claim.params),
        "seed": claim.seed,
        "wait": claim.definition.pruning is not None,
        "checkpoints": terms.shelf.offer(claim) if terms.shelf is not None else None,
        "data": None if terms.data is None else str(terms.data),
    }


def after_death(run: Run, epitaph: str) -> Result | None:
    """Say what becomes of a trial whose trainer died: no strike where we asked for it, or it never got to the trial."""
    if run.stopping is None:
        # At shutdown the signal may reach the trainer before we have asked it.
        run.stopping = run.stop_asked()
    run.send_rest()
    if run.stopping is None:
        failure = Failure.POISON if run.started else Failure.INFRASTRUCTURE
        return Result(run.claim, TrialState.QUEUED, failure=failure, error=epitaph)
    return run.stopped()


def _storable(text: str | None) -> str | None:
    return None if text is None else escaped(text)
