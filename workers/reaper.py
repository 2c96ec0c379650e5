"""Recovers what dead workers held. Leaderless: any number may run, in any process.

A lease is dead when its heartbeat counter did not move for a whole lease, seen on this reaper's own monotonic clock
over successful reads. Wall clocks decide nothing, and while the database is away nothing is observed, so nothing dies.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from models import candidates, checkpoints, closings, idempotency, studies, workers
from models.ids import show_study
from models.leases import CLIENT
from models.ledger import lock_study
from models.session import Connection, Database, Row, Unavailable, Work
from models.states import LIVE_STUDY
from search.clock import Clock, utc_now
from search.definition.kinds import EXTERNAL
from search.studies.views import read_definition
from search.trials import reporting
from search.trials.company import lost_with_workers

T = TypeVar("T")

log = logging.getLogger("tuneup.reaper")

_FORGET = timedelta(days=1)
_FORGET_SECONDS = 3600.0
_BRAKE_WORKERS = 4


@dataclass(slots=True)
class _Seen:
    beat: int
    at: float
    worker: str


class Reaper:
    """Watches heartbeat counters; `sweep` once, or `start` a thread that sweeps for ever."""

    def __init__(
        self,
        database: Database,
        *,
        lease_seconds: float,
        period_seconds: float,
        nudge: Callable[[Sequence[str]], None] = lambda _: None,
        clock: Clock = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Give a lease `lease_seconds` without a heartbeat, looking every `period_seconds`."""
        self._database = database
        self._lease = lease_seconds
        self._period = period_seconds
        self._nudge = nudge
        self._clock = clock
        self._monotonic = monotonic
        self._seen: dict[str, _Seen] = {}
        self._last_look = monotonic()
        self._braked_until = 0.0
        self._forget_at = self._last_look
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sweep_forever, name="reaper", daemon=True)

    def start(self) -> None:
        """Sweep in a thread until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after a sweep under way."""
        self._stopping.set()
        self._thread.join()

    def sweep(self) -> int:
        """Look once: take back what died, end what is out of time, nudge for what waits. Return how many were lost."""
        leases = self._database.read(workers.all_leases)
        dead = self._observe(leases)
        lost = 0
        for study_id, group in groupby(sorted(dead, key=_key), key=lambda row: row.study_id):
            batch = list(group)
            lost += self._write(partial(self._take_back, study_id=study_id, dead=batch), study_id) or 0
        for study_id in self._database.read(studies.running_with_seconds):
            self._write(partial(closings.close_if_spent, study_id=study_id, now=self._clock()), study_id)
        self._forget()
        waiting = self._database.read(lambda connection: candidates.queues_with_work(connection, self._clock()))
        self._nudge([queue for queue in waiting if queue != EXTERNAL])
        return lost

    def _write(self, work: Work[T], study_id: int) -> T | None:
        """Do one study's share; a study that cannot be mended must not keep the others waiting."""
        try:
            return self._database.write(work)
        except Unavailable:
            raise
        except Exception:
            log.exception("study %s could not be looked after", show_study(study_id))
            return None

    def _forget(self) -> None:
        """Drop once an hour what nobody asks for any more: workers long gone, old replies, checkpoints of ended trials."""
        now = self._monotonic()
        if now < self._forget_at:
            return
        self._forget_at = now + _FORGET_SECONDS
        before = self._clock() - _FORGET
        self._database.write(lambda connection: workers.forget_workers(connection, before=before), durable=False)
        self._database.write(lambda connection: idempotency.forget_keys(connection, before=before), durable=False)
        self._database.write(checkpoints.forget_checkpoints, durable=False)

    def _observe(self, leases: Sequence[Row[Any]]) -> list[Row[Any]]:
        """Note the counters and return the leases that are dead by now."""
        now = self._monotonic()
        if now - self._last_look > self._lease / 2 + self._period:
            # We slept, or the database was away: what we knew is too old to condemn anybody.
            self._seen.clear()
        self._last_look = now
        known = self._seen
        self._seen = {
            row.token: known[row.token]
            if row.token in known and known[row.token].beat == row.beat
            else _Seen(row.beat, now, row.worker)
            for row in leases
        }
        dead = [row for row in leases if now - self._seen[row.token].at >= self._length(row)]
        ours = [row for row in dead if not row.worker.startswith(CLIENT)]
        return [row for row in dead if row.worker.startswith(CLIENT)] + ([] if self._brake(leases, ours, now) else ours)

    def _length(self, lease: Row[Any]) -> float:
        """Return how long a lease lasts in silence: as long as its holder wished, unless its trial is to stop."""
        stops = lease.stop is not None or lease.closing in closings.ENDS_RUNNING or lease.state not in LIVE_STUDY
        return self._lease if stops or lease.seconds is None else float(lease.seconds)

    def _brake(self, leases: Sequence[Row[Any]], dead: Sequence[Row[Any]], now: float) -> bool:
        """Wait one more lease when most workers fell silent together: more likely the fault is on our side."""
        silent = {row.worker for row in dead}
        # Clients come and go as they please: they say nothing of the state of our own side.
        everyone = {row.worker for row in leases if not row.worker.startswith(CLIENT)}
        if len(silent) < _BRAKE_WORKERS or 2 * len(silent) <= len(everyone):
            self._braked_until = 0.0
            return False
        if self._braked_until == 0.0:
            self._braked_until = now + self._lease
            log.warning("%d of %d workers fell silent together; waiting one more lease", len(silent), len(everyone))
        return now < self._braked_until

    def _take_back(self, connection: Connection, study_id: int, dead: Sequence[Row[Any]]) -> int:
        study = lock_study(connection, study_id)
        if study is None:
            return 0
        beats = {row.token: self._seen[row.token].beat for row in dead}
        still = workers.unmoved(connection, beats)
        if still:
            lost = lost_with_workers(connection, study_id, read_definition(study.definition), still)
            reporting.finish(connection, lost, now=self._clock())
            log.warning("took back %d trials of silent workers %s", len(still), {row.worker for row in still})
        return len(still)

    def _sweep_forever(self) -> None:
        # Never longer than the period: a death is noticed within a lease and two of them.
        while not self._stopping.wait(self._period * random.uniform(0.8, 1.0)):
            try:
                self.sweep()
            except Exception:
                log.exception("a sweep failed; the next one follows")


def _key(row: Row[Any]) -> tuple[int, int]:
    return row.study_id, row.number
