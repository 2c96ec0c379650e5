"""How soon a dead worker is noticed, on PostgreSQL: `python -m benchmarks.detection --json`.

An API process with the settings as shipped (lease 60 s, heartbeat 10 s, reaper 7 s) watches workers that hold leases and
beat. Some fall silent for good, one of them holding most of all leases; a real worker with a trial under way is killed
with -9, children and all. The time is from the last breath to the moment in the ledger's event that takes the trial back.
`--quick` runs a tenth of the times.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
from sqlalchemy import select

from benchmarks.http import ready
from benchmarks.promises import Promise, line, show, table
from benchmarks.servers import describe, postgres_server
from migrations.upgrade import upgrade
from models.session import Database
from models.states import TrialState
from models.studies import DEFAULT_PROJECT, ensure_project
from models.tables import Event
from search.clock import utc_now
from search.definition.examples import EXAMPLE_STUDIES
from search.studies import service
from search.trials.dispatch import Claim, Dispatcher
from tests.support.postgres import fresh_database
from tests.support.shared import free_port
from tests.support.sources import ROOT

SHIPPED = {"lease": 60.0, "heartbeat": 10.0, "reaper": 7.0}
WORKERS = 12
SILENT = 5
BIG = 40  # trials of the one worker that holds most of all
ROUNDS = {"quick": 1, "standard": 3, "full": 10}


@dataclass(slots=True)
class Worker:
    """A worker that holds trials and beats, until it dies."""

    dispatcher: Dispatcher
    held: list[Claim]
    died: float | None = None
    dead: threading.Event = field(default_factory=threading.Event)

    def beat_until_dead(self, period: float) -> None:
        while not self.dead.wait(period * random.uniform(0.9, 1.1)):
            self.dispatcher.heartbeat(self.held)

    def die(self) -> None:
        """Breathe once more and never again: the worst moment for who watches."""
        self.dispatcher.heartbeat(self.held)
        self.died = time.time()
        self.dead.set()


@contextmanager
def process(*words: str, times: Mapping[str, float], url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of our programs with these times over a database."""
    environment = {
        **os.environ,
        **{f"TUNEUP_{name.upper()}_SECONDS": str(seconds) for name, seconds in times.items()},
        "TUNEUP_POLL_SECONDS": "2",
        "TUNEUP_DATABASE_URL": url,
        "TUNEUP_BROKER_URL": "redis://127.0.0.1:1/0",  # nobody there: the doorbell is not needed
    }
    started = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        started.terminate()
        started.wait()


def detections(url: str, times: Mapping[str, float]) -> dict[str, list[float]]:
    """Let workers die once; return the seconds until each was noticed, by kind."""
    database = Database(url, pool_size=WORKERS + 2)
    port = free_port()
    with process("api", "--port", str(port), times=times, url=url):
        while not ready(f"http://127.0.0.1:{port}"):
            time.sleep(0.1)
        _create(database, {**_study(), "name": "held"})
        workers = [_worker(database, place) for place in range(WORKERS)]
        for worker in workers:
            threading.Thread(target=worker.beat_until_dead, args=(times["heartbeat"],), daemon=True).start()
        real = _kill_a_real_worker(database, times, url)
        victims = [workers[0], *workers[-SILENT:]]
        for victim in victims:
            time.sleep(random.uniform(0, times["reaper"] / 2))
            victim.die()
        lost = {(victim.held[0].study_id, victim.held[0].number): victim.died or 0.0 for victim in victims} | real
        noticed = _wait_for_all(database, lost, patience=3 * times["lease"])
        for worker in workers:
            worker.dead.set()
    database.dispose()
    big = (workers[0].held[0].study_id, workers[0].held[0].number)
    kinds = {
        place: "holds most leases" if place == big else "killed -9" if place in real else "silent" for place in lost
    }
    taken: dict[str, list[float]] = {}
    for place, at in noticed.items():
        taken.setdefault(kinds[place], []).append(at - lost[place])
    return taken


def _study() -> dict[str, Any]:
    study = dict(EXAMPLE_STUDIES["digits-mlp"])
    objective = {**study["objective"], "epochs": 10_000}
    return {**study, "objective": objective, "pruning": None, "parallelism": None, "search": {"strategy": "random"}}


def _create(database: Database, raw: Mapping[str, Any]) -> None:
    now = utc_now()
    project = database.write(lambda c: ensure_project(c, DEFAULT_PROJECT, now))
    database.write(lambda c: service.create_study(c, project, raw, now=now))


def _worker(database: Database, place: int) -> Worker:
    dispatcher = Dispatcher(database, worker=f"bench-{place}")
    return Worker(dispatcher, dispatcher.claim(queue="cpu", capacity=BIG if place == 0 else 1))


def _kill_a_real_worker(database: Database, times: Mapping[str, float], url: str) -> dict[tuple[int, int], float]:
    """Start a worker, wait until it trains, and kill it with everything below it."""
    with process("workers", "--queue", "cpu", "--workers", "1", times=times, url=url) as fleet:
        while not (held := _newest(database, TrialState.RUNNING)):
            time.sleep(0.2)
        family = [psutil.Process(fleet.pid), *psutil.Process(fleet.pid).children(recursive=True)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        return dict.fromkeys(held, time.time())


def _newest(database: Database, state: TrialState) -> dict[tuple[int, int], float]:
    """Return the trials beyond those that this process claimed that came to `state`, with the moments."""
    claimed = BIG + WORKERS - 1
    query = select(Event.study_id, Event.number, Event.at).where(Event.number >= claimed, Event.target == state)
    return {(row.study_id, row.number): row.at.timestamp() for row in database.read(lambda c: c.execute(query).all())}


def _wait_for_all(
    database: Database, lost: Mapping[tuple[int, int], float], *, patience: float
) -> dict[tuple[int, int], float]:
    query = select(Event.study_id, Event.number, Event.at).where(Event.target == TrialState.QUEUED)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        rows = database.read(lambda c: c.execute(query).all())
        found = {(row.study_id, row.number): row.at.timestamp() for row in rows if (row.study_id, row.number) in lost}
        if len(found) == len(lost):
            return found
        time.sleep(0.5)
    raise RuntimeError(f"not every dead worker was noticed within {patience:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", action="store_true", help="end with a line for programs")
    given = parser.parse_args(arguments)
    size = "quick" if given.quick else "full" if given.full else "standard"
    times = {name: seconds / 10 if given.quick else seconds for name, seconds in SHIPPED.items()}
    taken: dict[str, list[float]] = {}
    with postgres_server() as server:
        print(describe(server))
        for _ in range(ROUNDS[size]):
            with fresh_database(server) as url:
                upgrade(url)
                for kind, seconds in detections(url, times).items():
                    taken.setdefault(kind, []).extend(seconds)
    rows = [(kind, len(each), min(each), sum(each) / len(each), max(each)) for kind, each in sorted(taken.items())]
    print(table(("worker", "deaths", "soonest s", "mean s", "latest s"), rows))
    limit = times["lease"] + 2 * times["reaper"]
    promises = [Promise(f"{kind}: latest, seconds", max(each), limit, at_most=True) for kind, each in taken.items()]
    print(show(promises))
    if given.json:
        print(line("detection", promises))
    return 0


if __name__ == "__main__":
    sys.exit(main())
