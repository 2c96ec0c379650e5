"""One supervisor per Celery child: claim, run on the trainer, heartbeat, finish.

The nudge task and the child's own poll thread both call `turn`, under one lock; a turn lasts while there is work, and is
made of shifts. Heartbeats come from a thread that does nothing else, so that neither training nor a slow claim delays them.
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
from models.workers import Peers, greet, part
from search.clock import Clock, utc_now
from search.trials.dispatch import Claim, Dispatcher, Result
from search.trials.failures import Failure
from workers.habits import Habits, Rooms
from workers.holdings import Holdings
from workers.keeper import TrainerKeeper, kind_of
from workers.outbox import Outbox
from workers.refill import ClaimMore
from workers.shift import Desk, Shift

log = logging.getLogger("tuneup.supervisor")

_PAUSE_SECONDS = 1.0
_TIDY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class _Served:
    """What a shift came to: how many trials it ran, whether this host is sound, whether it left its study to others."""

    ran: int
    sound: bool
    yielded: bool = False


class Supervisor:
    """Runs trials of one queue on one trainer."""

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
        self._keeper = TrainerKeeper(give_up=self._stopping.is_set, threads=habits.threads)
        self._objectives = sorted(habits.terms.registry)
        self._shelf = habits.terms.shelf
        self._held = Holdings(self._stopping)
        self._desk = Desk(
            dispatcher=self.dispatcher,
            habits=habits,
            held=self._held,
            rooms=Rooms(most=habits.population),
            objectives=self._objectives,
            claim_more=self._claim_more,
            end_trainer=self._keeper.end,
        )
        # What the worker's row says, and who serves this queue as of the last heartbeat.
        self._capacity = 1
        self._peers = Peers()
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
            last: _Served | None = None
            # What was left to others, the longest ago first: so the studies that wait take turns, however many they are.
            left: list[int] = []
            while (last is None or last.sound) and self._keeper.ready() is not None:
                claimed = self.dispatcher.claim(
                    queue=self.habits.queue,
                    capacity=1,
                    objectives=self._objectives,
                    after=left,
                )
                if not claimed:
                    break
                self._held.take(claimed)
                try:
                    self._nudge(self.habits.queue)
                    last = self._shift(claimed[0])
                finally:
                    # Beaten on by nobody's wish, a lease would outlast whatever went wrong here.
                    self._held.drop(claimed)
                done += last.ran
                left = _behind(left, claimed[0].study_id, yielded=last.yielded)
        return done

    def _shift(self, first: Claim) -> _Served:
        """Run a trial, and others of its study with it."""
        # What is ready may be of another kind than this objective needs.
        trainer = self._keeper.ready(kind_of(first.definition.objective))
        if trainer is None:
            return _Served(ran=1, sound=self._without_trainer(first))
        shift = Shift(first, trainer, self._desk)
        try:
            shift.work()
        finally:
            self._capacity = self._desk.rooms.of(first.study_id)
            if shift.spoilt:
                # Out of memory or a CUDA error may have spoilt the process.
                self._keeper.end()
        return _Served(shift.ran, shift.sound, shift.yielded)

    def _claim_more(self, first: Claim) -> ClaimMore:
        """Return how more trials of this one's study are claimed; what it returns is held."""
        registered = first.definition.objective.registered

        def claim(free: int, held: int) -> list[Claim]:
            claimed = self.dispatcher.claim(
                queue=self.habits.queue,
                capacity=free,
                objectives=self._objectives,
                study=first.study_id,
                workers=self._peers.able(registered),
                held=held,
            )
            self._held.take(claimed)
            return claimed

        return claim

    def _without_trainer(self, claim: Claim) -> bool:
        """Give a trial back; return whether this host is sound."""
        said = "no trainer for it can start on this host"
        sound = self._stopping.is_set()
        result = (
            Result(claim, TrialState.QUEUED, reason="released")
            if sound
            else Result(claim, TrialState.QUEUED, failure=Failure.INFRASTRUCTURE, error=said)
        )
        outbox = Outbox(self.dispatcher, self._shelf)
        try:
            while not outbox.finish([(claim, result)]) and not self._stopping.wait(_PAUSE_SECONDS):
                pass
        finally:
            self._held.drop([claim])
        return sound

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
        held = self._held.claims()
        if held:
            self._held.hear(held, self.dispatcher.heartbeat(held))
        row = {
            "id": self.worker,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "queue": self.habits.queue,
            "device": self.habits.device,
            "capacity": self._capacity,
            "objectives": self._objectives,
            "started_at": self._started_at,
            "seen_at": self._clock(),
        }
        pace = self.habits.heartbeat_seconds
        self._peers = self._database.write(
            lambda connection: greet(connection, row, heartbeat_seconds=pace), durable=False
        )


def _behind(left: list[int], served: int, *, yielded: bool) -> list[int]:
    """Say which studies come last from now on, in order. Those before the one just served had nothing to give."""
    later = left[left.index(served) + 1 :] if served in left else left
    return [*later, served] if yielded else later
