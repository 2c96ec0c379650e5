"""One supervisor per Celery child: claim, run on the trainer, heartbeat, finish.

The nudge task and the child's own poll thread both call `turn`, under one lock; a turn lasts while there is work.
Heartbeats come from a thread that does nothing else, so that neither training nor a slow claim delays them.
"""

import logging
import os
import random
import socket
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from models.session import Database, Unavailable
from models.states import TrialState
from models.workers import greet, part
from search.clock import Clock, utc_now
from search.dispatch import Claim, Dispatcher, Result
from search.failures import Failure
from workers.running import SHUTDOWN, STALE, Run
from workers.trainer import Trainer, TrainerDied

log = logging.getLogger("tuneup.supervisor")

_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Habits:
    """What a supervisor serves, and its periods in seconds."""

    queue: str
    heartbeat_seconds: float = 10.0
    poll_seconds: float = 20.0
    device: str | None = None


class Supervisor:
    """Runs trials of one queue, one after the other, on one trainer."""

    def __init__(
        self, database: Database, habits: Habits, *, nudge: Callable[[str], None], clock: Clock = utc_now
    ) -> None:
        """Serve `habits.queue` from `database`; `nudge` wakes another worker when there may be more work."""
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.habits = habits
        self.dispatcher = Dispatcher(database, worker=self.worker, clock=clock)
        self._database = database
        self._nudge = nudge
        self._clock = clock
        self._started_at = clock()
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._closed = threading.Event()
        self._trainer: Trainer | None = None
        # What is held right now, by token, and why it is asked to stop; the heartbeat thread writes the latter.
        self._held: dict[str, Claim] = {}
        self._asked: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=self._beat_forever, name="heartbeat", daemon=True),
            threading.Thread(target=self._poll_forever, name="poll", daemon=True),
        ]

    def start(self) -> None:
        """Start to beat and to look for work."""
        for thread in self._threads:
            thread.start()

    def ask_to_stop(self) -> None:
        """Claim nothing more and give back what is held, soon. Safe in a signal handler."""
        self._stopping.set()

    def close(self) -> None:
        """Wait for a turn to give back its trial, then end the trainer."""
        self._stopping.set()
        with self._turn:
            self._end_trainer()
        self._closed.set()
        try:
            self._database.write(lambda connection: part(connection, self.worker, self._clock()))
        except Unavailable as error:
            log.warning("could not say goodbye: %s", error)
        self._database.dispose()

    def turn(self) -> int:
        """Run trials while there are any; return how many. A second caller waits for its own turn."""
        done = 0
        with self._turn:
            while not self._stopping.is_set():
                claimed = self.dispatcher.claim(queue=self.habits.queue, capacity=1)
                if not claimed:
                    break
                self._nudge(self.habits.queue)
                for claim in claimed:
                    self._run(claim)
                    done += 1
        return done

    def _run(self, claim: Claim) -> None:
        self._held[claim.token] = claim
        try:
            result = self._follow(claim)
            if result is not None:
                self._finish(result)
        finally:
            self._held.pop(claim.token, None)
            self._asked.pop(claim.token, None)

    def _follow(self, claim: Claim) -> Result | None:
        try:
            trainer = self._ready_trainer()
        except TrainerDied as error:
            # It never got to the trial: no fault of the trial's.
            self._end_trainer()
            return Result(claim, TrialState.QUEUED, failure=Failure.INFRASTRUCTURE, error=str(error))
        trainer.trials += 1
        run = Run(claim, trainer, self.dispatcher, lambda: self._why_stop(claim.token))
        try:
            result = run.follow()
        except TrainerDied as error:
            self._end_trainer()
            return _after_death(run, str(error))
        except Exception as error:
            # Whatever it was, the trainer may still be at work on this trial: the next one must not hear of it.
            log.exception("trial %s broke off", claim.id)
            self._end_trainer()
            return Result(claim, TrialState.QUEUED, failure=Failure.INFRASTRUCTURE, error=repr(error))
        if result is not None and result.failure is not None:
            # Out of memory or a CUDA error may have spoilt the process.
            self._end_trainer()
        return result

    def _ready_trainer(self) -> Trainer:
        if self._trainer is not None and self._trainer.worn:
            self._end_trainer()
        if self._trainer is None:
            self._trainer = Trainer()
        self._trainer.wait_ready()
        return self._trainer

    def _end_trainer(self) -> None:
        if self._trainer is not None:
            self._trainer.kill()
            self._trainer = None

    def _why_stop(self, token: str) -> str | None:
        return SHUTDOWN if self._stopping.is_set() else self._asked.get(token)

    def _finish(self, result: Result) -> None:
        """Write a result, however long the database is away: nobody can reap the lease meanwhile."""
        while True:
            try:
                verdict = self.dispatcher.finish([result])[result.claim.token]
            except Unavailable as error:
                log.warning("the result of trial %s waits: %s", result.claim.id, error)
                if self._stopping.wait(_PAUSE_SECONDS):
                    return
                continue
            if verdict == STALE:
                log.warning("trial %s: another attempt holds it now; this result was refused", result.claim.id)
            return

    def _poll_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
                with self._turn:
                    if self._trainer is None and not self._stopping.is_set():
                        self._trainer = Trainer()
            except Exception:
                log.exception("a look for work failed; looking again")
            self._stopping.wait(self.habits.poll_seconds * random.uniform(0.5, 1.5))
        # A trainer that this thread started is killed by the kernel when the thread ends, so it must not end first.
        self._closed.wait()

    def _beat_forever(self) -> None:
        while True:
            try:
                self._beat()
            except Exception:
                log.exception("a heartbeat failed; the next one follows")
            # Not `_stopping`: until its trial is given back a stopping worker beats on, at the same pace.
            if self._closed.wait(self.habits.heartbeat_seconds * random.uniform(0.9, 1.1)):
                return

    def _beat(self) -> None:
        held = list(self._held.values())
        if held:
            answers = self.dispatcher.heartbeat(held)
            for claim in held:
                asked = answers.get(claim.token, STALE)
                if asked is not None and claim.token in self._held:
                    self._asked[claim.token] = asked
        row = {
            "id": self.worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queue": self.habits.queue,
            "device": self.habits.device,
            "capacity": 1,
            "started_at": self._started_at,
            "seen_at": self._clock(),
        }
        self._database.write(lambda connection: greet(connection, row), durable=False)


def _after_death(run: Run, epitaph: str) -> Result | None:
    """Say what becomes of a trial whose trainer died: no strike where we had asked it to stop."""
    if run.stopping is None:
        # At shutdown the signal may reach the trainer before we have asked it.
        run.stopping = run.stop_asked()
    if run.stopping is None:
        return Result(run.claim, TrialState.QUEUED, failure=Failure.POISON, error=epitaph)
    return run.stopped()
