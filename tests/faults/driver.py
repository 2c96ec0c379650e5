"""One run: servers, APIs, workers and clients are started, hurt again and again, let rest, and judged."""

import heapq
import itertools
import logging
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Select, func, select

from migrations.upgrade import upgrade
from models.session import Database, Row, Unavailable
from models.states import AttemptState
from models.tables import Attempt, Measurement, Study, Trial
from tests.faults import nemesis, processes
from tests.faults.caller import Caller, Unanswered
from tests.faults.checker import violations
from tests.faults.clients import Clients
from tests.faults.oracle import Oracle, read
from tests.faults.planting import spoil
from tests.faults.processes import LEASE_SECONDS, REAPER_SECONDS, Programs
from tests.faults.proxy import Proxy
from tests.faults.servers import Postgres, Redis, SqliteFile, wait_until

log = logging.getLogger("tuneup.faults")

WARM_SECONDS = 60.0
SETTLE_SECONDS = 240.0
DETECTION_LIMIT = LEASE_SECONDS + 2 * REAPER_SECONDS
_HIDING_FAULTS = ("postgres", "backends", "commit", "api", "request", "write")
_LASTING = 6.0  # the longest of those
_BETWEEN_SECONDS = (0.5, 1.7)
_TICK_SECONDS = 0.05
_LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run is to do."""

    seed: int
    faults: int
    workers: int = 4
    bug: str | None = None
    sqlite: bool = False  # the database is a file that all processes share; nothing can be done to it alone
    trials_per_fault: float = 10.0  # on a machine that is too busy for so many the faults wait, up to PATIENCE_SECONDS


@dataclass(slots=True)
class Report:
    """What one run did, and what was wrong. Times are in seconds."""

    seed: int
    faults: Mapping[str, int]
    stumbles: int  # processes that died at a crash point in the code, besides
    studies: int
    trials: int
    attempts: int
    lost: int
    measurements: int
    # From the death of a supervisor that held a trial to its attempt's end: of all, and of those during which nothing
    # else was done to the database or to a reaper.
    detection: list[float]
    detection_alone: list[float]
    seconds: float
    settle_seconds: float
    violations: list[str]
    bug: str | None = None
    sqlite: bool = False
    folder: str | None = None  # where logs and oracle were kept


@dataclass(frozen=True, slots=True)
class Death:
    """A supervisor that was killed, and when, by both clocks: ours are monotonic, the ledger's are not."""

    pid: int
    at: float
    wall: float


@dataclass(eq=False, slots=True)
class World:
    """One deployment under test. Used from the main thread alone, which its processes are tied to."""

    folder: Path
    oracle: Oracle
    postgres: Postgres | SqliteFile
    redis: Redis
    postgres_proxy: Proxy
    redis_proxy: Proxy
    programs: Programs
    clients: Clients
    deaths: list[Death] = field(default_factory=list)
    _undo: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _last_due: float = 0.0  # when what was put off last is to be done

    def later(self, seconds: float, undo: Callable[[], None]) -> None:
        """Do something in so many seconds, or when the faults are over."""
        due = time.monotonic() + seconds
        heapq.heappush(self._undo, (due, next(self._order), undo))
        self._last_due = max(self._last_due, due)

    def strike(self, rng: Random) -> str:
        """Hurt the service once, and tell the oracle when that begins and ends; return the fault's name."""
        began = self._last_due = time.monotonic()
        name, hit = nemesis.strike(self, rng)
        log.info("%s: %s", name, hit)
        self.oracle.write("fault", event="begin", name=name, target=hit)
        self.later(self._last_due - began, lambda: self.oracle.write("fault", event="end", name=name, target=hit))
        return name

    def killed(self, pid: int) -> None:
        """Note that a supervisor was killed just now."""
        self.deaths.append(Death(pid, time.monotonic(), time.time()))

    def tick(self, *, everything: bool = False) -> None:
        """Undo what is due, or everything; start again what has ended."""
        while self._undo and (everything or self._undo[0][0] <= time.monotonic()):
            heapq.heappop(self._undo)[2]()
        self.programs.mend()

    def heal(self) -> None:
        """End every fault that still lasts."""
        self.tick(everything=True)
        self.postgres.free_disk()
        self.redis.start()
        self.postgres.wait_ready()
        self.redis.wait_ready()
        self.postgres_proxy.heal()
        self.redis_proxy.heal()


def run(plan: Plan, *, keep: Path | None = None) -> Report:
    """Do one run; its folder stays, below `keep` or where it was made, if anything was wrong."""
    folder = Path(tempfile.mkdtemp(prefix=f"tuneup-faults-{plan.seed}-"))
    started = time.monotonic()
    with world(plan, folder) as here:
        faults = _ordeal(here, plan)
        # With a bug planted a study may never end, and has shown enough.
        settle = None if _caught(here, plan) else _settle(here)
        complaints = [*here.programs.complaints, *here.clients.caller.complaints]
        if settle is None and plan.bug is None:
            complaints += [f"not ended within {SETTLE_SECONDS:.0f} s: {study}" for study in here.clients.live()]
        url = here.postgres.url()
        found = [*complaints, *violations(url, here.oracle.path, settled=settle is not None)]
        report = Report(
            seed=plan.seed,
            faults=faults,
            stumbles=_count_stumbles(here.oracle.path),
            **_count(url),
            detection=_detection(url, here.deaths),
            detection_alone=_detection(url, _alone(here)),
            seconds=0.0,
            settle_seconds=round(settle or SETTLE_SECONDS, 1),
            violations=found,
            bug=plan.bug,
            sqlite=plan.sqlite,
        )
    report.seconds = round(time.monotonic() - started, 1)
    if not found:
        shutil.rmtree(folder)
        return report
    kept = folder if keep is None else keep / folder.name
    if kept != folder:
        shutil.move(folder, kept)
    report.folder = str(kept)
    return report


@contextmanager
def world(plan: Plan, folder: Path) -> Iterator[World]:
    """Start servers, proxies, APIs, workers and clients; end them all afterwards."""
    with ExitStack() as stack:
        oracle = Oracle(folder / "oracle.jsonl")
        stack.callback(oracle.close)
        postgres, redis = SqliteFile(folder) if plan.sqlite else Postgres(folder), Redis(folder)
        stack.callback(postgres.remove)
        stack.callback(redis.kill)
        postgres.start()
        redis.start()
        postgres.wait_ready()
        redis.wait_ready()
        postgres.create_database()
        upgrade(postgres.url())
        spoil(postgres.url(), plan.bug)
        proxies = Proxy(postgres.port), Proxy(redis.port)
        for proxy in proxies:
            proxy.start()
            stack.callback(proxy.stop)
        more = {"TUNEUP_FAULTS_SEED": str(plan.seed), "TUNEUP_FAULTS_ORACLE": str(oracle.path)} | (
            {"TUNEUP_FAULTS_BUG": plan.bug} if plan.bug else {}
        )
        programs = processes.plan(
            folder,
            database_url=postgres.url(proxies[0].port),
            broker_url=f"redis://127.0.0.1:{proxies[1].port}/0",
            workers=plan.workers,
            more=more,
        )
        stack.callback(programs.stop)
        programs.start()
        clients = Clients(Caller(programs.urls, oracle, threading.Event()), plan.seed)
        stack.callback(clients.stop)
        clients.start()
        yield World(folder, oracle, postgres, redis, *proxies, programs, clients)


def _ordeal(here: World, plan: Plan) -> dict[str, int]:
    """Hurt the service, then end every fault; return how many there were of each."""
    rng = Random(plan.seed)
    faults: Counter[str] = Counter()
    wait_until(lambda: _works(here), what="a trial has begun", seconds=WARM_SECONDS)
    while faults.total() < plan.faults and not _caught(here, plan):
        faults[here.strike(rng)] += 1
        _go_on(here, rng.uniform(*_BETWEEN_SECONDS))
        _await_trials(here, plan.trials_per_fault * faults.total())
    here.clients.resting.set()
    here.heal()
    return dict(faults)


def _caught(here: World, plan: Plan) -> bool:
    """Say whether a planted bug has shown itself already; without one the verdict comes at the end."""
    if plan.bug is None:
        return False
    with suppress(Unavailable):
        return bool(violations(here.postgres.url(), here.oracle.path, settled=False))
    return False


def _works(here: World) -> bool:
    here.tick()
    return '"kind": "train"' in here.oracle.path.read_text()


def _go_on(here: World, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        here.tick()
        time.sleep(_TICK_SECONDS)


def _await_trials(here: World, count: float) -> None:
    """Let the service work until so many trials were begun, but not for ever."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with suppress(Unavailable):
            if _count_begun(here.postgres.url()) >= count:
                return
        _go_on(here, _LOOK_SECONDS)


def _count_begun(url: str) -> int:
    return int(_rows(url, select(func.coalesce(func.sum(Study.allocated), 0)), patience=0.1)[0][0])


def _settle(here: World) -> float | None:
    """Wait until every study has ended; return how long it took, None where it takes too long."""
    start = time.monotonic()
    while time.monotonic() < start + SETTLE_SECONDS:
        _go_on(here, _LOOK_SECONDS)
        # Both APIs may have died at a crash point: they are started again here, not by those who wait for them.
        with suppress(Unanswered):
            if here.clients.settled():
                return time.monotonic() - start
    return None


def _count(url: str) -> dict[str, Any]:
    tables = {"studies": Study, "trials": Trial, "attempts": Attempt, "measurements": Measurement}
    counted = {name: _rows(url, select(func.count()).select_from(table))[0][0] for name, table in tables.items()}
    return counted | {"lost": len(_rows(url, _LOST))}


_LOST = select(Attempt.worker, Attempt.finished_at).where(Attempt.state == AttemptState.LOST)


def _detection(url: str, deaths: Sequence[Death]) -> list[float]:
    """Return how long each trial of a killed supervisor went unmissed."""
    lost = [(row.worker, row.finished_at.timestamp()) for row in _rows(url, _LOST)]
    found = [
        min((at - death.wall for worker, at in lost if f"-{death.pid}-" in worker and at > death.wall), default=None)
        for death in deaths
    ]
    return [round(seconds, 2) for seconds in found if seconds is not None]


def _alone(here: World) -> list[Death]:
    """Return the deaths that no other fault can have hidden from the reapers."""
    lines = read(here.oracle.path, "fault")
    others = [line["at"] for line in lines if any(word in line["name"] for word in _HIDING_FAULTS)]
    return [
        death
        for death in here.deaths
        if not any(death.at - _LASTING < other < death.at + DETECTION_LIMIT for other in others)
    ]


def _count_stumbles(oracle: Path) -> int:
    """Count the processes that died at a crash point in the code."""
    return sum(line["event"] == "begin" and line["name"].startswith("crash point") for line in read(oracle, "fault"))


def _rows(url: str, query: Select[*tuple[Any, ...]], *, patience: float = 10.0) -> Sequence[Row[*tuple[Any, ...]]]:
    database = Database(url, patience=patience)
    try:
        return database.read(lambda connection: connection.execute(query).all())
    finally:
        database.dispose()
