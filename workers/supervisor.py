"""One supervisor per Celery child: claim, run on the trainer, heartbeat, finish.

The nudge task and the child's own poll thread both call `turn`, under one lock; a turn lasts while there is work.
Heartbeats come from a thread that does nothing else, so that neither training nor a slow claim delays them.
"""

import _thread
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
        # Setting takes the event's lock, which the interrupted thread may hold: it must not wait for itself. The bare
        # call, because Thread.start takes locks too.
        _thread.start_new_thread(self._stopping.set, ())

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
        """Run trials while there are any; return how many. A second caller waits for its own turn.

        Nothing is claimed before a trainer is ready: where none can start, the trials stay with other hosts. A turn also
        ends with a trial that this host was to blame for, lest a broken device spoil one after the other.
        """
        done = 0
        with self._turn:
            sound = True
            while sound and (trainer := self._ready_trainer()) is not None:
                claimed = self.dispatcher.claim(queue=self.habits.queue, capacity=1)
                if not claimed:
                    break
                self._nudge(self.habits.queue)
                for claim in claimed:
                    sound = self._run(claim, trainer)
                    done += 1
        return done

    def _run(self, claim: Claim, trainer: Trainer) -> bool:
        """Run a trial to its end; return False when this host was what failed."""
        self._held[claim.token] = claim
        try:
            result = self._follow(claim, trainer)
            if result is not None:
                self._finish(result)
            return result is None or result.failure is not Failure.INFRASTRUCTURE
        finally:
            self._held.pop(claim.token, None)
            self._asked.pop(claim.token, None)

    def _follow(self, claim: Claim, trainer: Trainer) -> Result | None:
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

    def _ready_trainer(self) -> Trainer | None:
        """Return a trainer that has done its imports; None when we are stopping, or none can start on this host."""
        if self._trainer is not None and (self._trainer.worn or not self._trainer.alive):
            self._end_trainer()
        try:
            if self._trainer is None and not self._stopping.is_set():
                self._trainer = Trainer()
            ready = self._trainer is not None and self._trainer.wait_ready(give_up=self._stopping.is_set)
        except (TrainerDied, OSError) as error:
            log.error("this host takes no trials, its trainer cannot start: %s", error)  # noqa: TRY400  no traceback helps
            self._end_trainer()
            return None
        return self._trainer if ready and not self._stopping.is_set() else None

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
    """Say what becomes of a trial whose trainer died: no strike where we asked for it, or it never got to the trial."""
    if run.stopping is None:
        # At shutdown the signal may reach the trainer before we have asked it.
        run.stopping = run.stop_asked()
    if run.stopping is None:
        failure = Failure.POISON if run.started else Failure.INFRASTRUCTURE
        return Result(run.claim, TrialState.QUEUED, failure=failure, error=epitaph)
    return run.stopped()
