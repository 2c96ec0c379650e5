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
from dataclasses import dataclass, field

from models.session import Database, Unavailable
from models.states import TrialState
from models.workers import greet, part
from search.clock import Clock, utc_now
from search.dispatch import Claim, Dispatcher, Result
from search.failures import Failure
from workers.keeper import TrainerKeeper, kind_of
from workers.running import SHUTDOWN, STALE, Run, Terms, after_death
from workers.trainer import TrainerDied

log = logging.getLogger("tuneup.supervisor")

_PAUSE_SECONDS = 1.0
_TIDY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Habits:
    """What a supervisor serves, and its periods in seconds."""

    queue: str
    heartbeat_seconds: float = 10.0
    poll_seconds: float = 20.0
    device: str | None = None
    terms: Terms = field(default_factory=Terms)


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
        self._keeper = TrainerKeeper(give_up=self._stopping.is_set)
        self._objectives = sorted(habits.terms.registry)
        self._shelf = habits.terms.shelf
        # What is held right now, by token, and why it is asked to stop; the heartbeat thread writes the latter.
        self._held: dict[str, Claim] = {}
        self._asked: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=self._beat_forever, name="heartbeat", daemon=True),
            threading.Thread(target=self._poll_forever, name="poll", daemon=True),
            threading.Thread(target=self._tidy_forever, name="tidy", daemon=True),
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
            self._keeper.end()
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
            while sound and self._keeper.ready() is not None:
                claimed = self.dispatcher.claim(queue=self.habits.queue, capacity=1, objectives=self._objectives)
                if not claimed:
                    break
                self._nudge(self.habits.queue)
                for claim in claimed:
                    sound = self._run(claim)
                    done += 1
        return done

    def _run(self, claim: Claim) -> bool:
        """Run a trial to its end; return False when this host was what failed."""
        self._held[claim.token] = claim
        try:
            result = self._follow(claim)
            if result is not None and self._finish(result):
                self._clear(claim, result)
            return result is None or result.failure is not Failure.INFRASTRUCTURE
        finally:
            self._held.pop(claim.token, None)
            self._asked.pop(claim.token, None)

    def _follow(self, claim: Claim) -> Result | None:
        # What is ready may be of another kind than this objective needs.
        trainer = self._keeper.ready(kind_of(claim.definition.objective))
        if trainer is None:
            return self._without_trainer(claim)
        trainer.trials += 1
        run = Run(claim, trainer, self.dispatcher, lambda: self._why_stop(claim.token), self.habits.terms)
        try:
            result = run.follow()
        except TrainerDied as error:
            self._keeper.end()
            return after_death(run, str(error))
        except Exception as error:
            # Whatever it was, the trainer may still be at work on this trial: the next one must not hear of it.
            log.exception("trial %s broke off", claim.id)
            self._keeper.end()
            return Result(claim, TrialState.QUEUED, failure=Failure.INFRASTRUCTURE, error=repr(error))
        if result is not None and result.failure is not None:
            # Out of memory or a CUDA error may have spoilt the process.
            self._keeper.end()
        return result

    def _without_trainer(self, claim: Claim) -> Result:
        if self._stopping.is_set():
            return Result(claim, TrialState.QUEUED, reason="released")
        said = "no trainer for it can start on this host"
        return Result(claim, TrialState.QUEUED, failure=Failure.INFRASTRUCTURE, error=said)

    def _why_stop(self, token: str) -> str | None:
        return SHUTDOWN if self._stopping.is_set() else self._asked.get(token)

    def _finish(self, result: Result) -> bool:
        """Write a result, however long the database is away: nobody can reap the lease meanwhile. Say if it stands."""
        while True:
            try:
                verdict = self.dispatcher.finish([result])[result.claim.token]
            except Unavailable as error:
                log.warning("the result of trial %s waits: %s", result.claim.id, error)
                if self._stopping.wait(_PAUSE_SECONDS):
                    return False
                continue
            if verdict == STALE:
                log.warning("trial %s: another attempt holds it now; this result was refused", result.claim.id)
            return verdict != STALE

    def _clear(self, claim: Claim, result: Result) -> None:
        """Remove the checkpoints of a trial that has ended for good; of one that failed the ledger knows whether."""
        if self._shelf is None:
            return
        try:
            if result.failure is not None:
                self._shelf.tidy_study(self._database, claim.study_id)
            elif result.target is not TrialState.QUEUED:
                self._shelf.clear(claim)
        except (Unavailable, OSError) as error:
            log.warning("the checkpoints of trial %s stay for now: %s", claim.id, error)

    def _poll_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                self.turn()
            except Exception:
                log.exception("a look for work failed; looking again")
            self._stopping.wait(self.habits.poll_seconds * random.uniform(0.5, 1.5))
        # A trainer that this thread started is killed by the kernel when the thread ends, so it must not end first.
        self._closed.wait()

    def _tidy_forever(self) -> None:
        while self._shelf is not None and not self._stopping.is_set():
            try:
                self._shelf.tidy(self._database)
            except Exception:
                log.exception("checkpoints could not be tidied; the next time they will be")
            self._stopping.wait(_TIDY_SECONDS)

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
            "objectives": self._objectives,
            "started_at": self._started_at,
            "seen_at": self._clock(),
        }
        self._database.write(lambda connection: greet(connection, row), durable=False)
