"""A ledger for tests: studies in a few words, workers that need no trainer, and the promises every ledger keeps."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import pytest
from sqlalchemy import delete, select

from models.ids import read_study, show_study
from models.session import Connection, Database
from models.states import FINAL_TRIAL_STATES, STUDY_MOVES, TRIAL_MOVES, StudyState, TrialState
from models.studies import ensure_project
from models.tables import Table
from models.trials import changed_trials
from search.records import StudyView, TrialRecord
from search.studies import service, views
from search.trials.dispatch import Claim, Dispatcher, Report, Result
from tests.support import postgres

T = TypeVar("T")

SPACES: Mapping[str, Mapping[str, Any]] = {
    "discrete": {
        "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
        "batch_size": {"type": "categorical", "choices": [16, 32, 64]},
    },
    "grid24": {
        "optimizer": {"type": "categorical", "choices": ["sgd", "adam", "adamw", "rmsprop"]},
        "batch_size": {"type": "categorical", "choices": [8, 16, 24, 32, 48, 64]},
    },
    "continuous": {
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
        "warmup": {"type": "float", "low": 0.0, "high": 0.5},
    },
}


def definition(strategy: str = "random", *, space: str = "continuous", trials: int | None = 8, **more: Any) -> Any:
    """Return a study as a user would post it; `more` replaces or adds top-level fields."""
    return {
        "name": "a study",
        "objective": {
            "recipe": "classifier",
            "data": "iris",
            "network": {"kind": "mlp", "hidden": [4]},
            "epochs": 20,
        },
        "metrics": [{"name": "val_loss", "goal": "minimize"}],
        "space": SPACES[space],
        "search": {"strategy": strategy, "seed": 7},
        "budget": {"trials": trials} if trials is not None else {},
        **more,
    }


@dataclass(slots=True)
class WallClock:
    """A wall clock that stands until it is moved."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(slots=True)
class Ledger:
    """A database with the tables in it, one project, and a clock."""

    database: Database
    project: int
    clock: WallClock = field(default_factory=WallClock)

    def create(self, raw: Any) -> str:
        """Store a study; return its public id."""
        made = self.database.write(lambda c: service.create_study(c, self.project, raw, now=self.clock()))
        return show_study(made.view.record.id)

    def act(self, verb: Callable[..., T], study: str, *more: Any) -> T:
        """Do one of the service's verbs to a study, now."""
        return self.database.write(lambda c: verb(c, self.project, study, *more, now=self.clock()))

    def worker(self, name: str = "worker") -> Dispatcher:
        return Dispatcher(self.database, worker=name, clock=self.clock)

    def read(self, query: Callable[..., T], *more: Any) -> T:
        """Read with one of the views."""
        return self.database.read(lambda c: query(c, self.project, *more))

    def study(self, study: str) -> StudyView:
        return self.read(views.view_study, study)

    def trials(self, study: str) -> list[TrialRecord]:
        """Return the trials of a study by number."""
        study_id = read_study(study)
        assert study_id is not None
        rows = self.database.read(lambda c: changed_trials(c, study_id, -1))
        return sorted((views.trial_record(row) for row in rows), key=lambda trial: trial.number)

    def rows(self, table: str) -> list[Any]:
        return self.database.read(lambda c: _rows(c, table))

    def dump(self) -> dict[str, list[Any]]:
        """Return every row of every table, to be compared with another such dump."""
        return self.database.read(lambda c: {name: _rows(c, name) for name in Table.metadata.tables})


@pytest.fixture(scope="session")
def ledger_server(postgres_server: str) -> Iterator[str]:
    """Yield the URL of one PostgreSQL database for many tests: making one costs more than most of them."""
    with postgres.fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Yield an empty ledger on each kind of database; its promises are checked after the test."""
    server = request.param == "postgresql"
    url = request.getfixturevalue("ledger_server") if server else f"sqlite:///{tmp_path / 'tuneup.db'}"
    with opened(url) as made:
        yield made


@contextmanager
def opened(url: str) -> Iterator[Ledger]:
    """Make the tables in an empty database; check the ledger's promises at the end, and leave the tables empty."""
    database = Database(url)
    Table.metadata.create_all(database.engine)
    clock = WallClock()
    ledger = Ledger(database, database.write(lambda c: ensure_project(c, "default", clock())), clock)
    try:
        yield ledger
        broken = broken_promises(ledger)
        if broken:
            raise AssertionError("\n".join(broken))
    finally:
        with database.engine.begin() as connection:
            for table in reversed(Table.metadata.sorted_tables):
                connection.execute(delete(table))
        database.dispose()


def done(claim: Claim, value: float = 0.5) -> Result:
    """Say that a trial completed with this `val_loss`."""
    return Result(claim, TrialState.COMPLETED, values={"val_loss": value})


def report(claim: Claim, step: int, value: float) -> Report:
    return Report(claim, step, {"val_loss": value})


def drain(worker: Dispatcher, *, capacity: int = 4, queue: str = "cpu") -> list[Claim]:
    """Claim and complete until there is nothing left; return what was claimed."""
    every: list[Claim] = []
    while claims := worker.claim(queue=queue, capacity=capacity):
        every += claims
        worker.finish([done(claim, 1.0 / (1 + claim.number)) for claim in claims])
    return every


def together(count: int, work: Callable[[int], T]) -> list[T]:
    """Run `work(0) .. work(count - 1)` in threads that start at once; raise what any of them raised."""
    barrier = Barrier(count)

    def run(place: int) -> T:
        barrier.wait()
        return work(place)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def broken_promises(ledger: Ledger) -> list[str]:
    """Say in words what in this database contradicts the ledger's invariants; an empty list is what must be."""
    dump = ledger.dump()
    return [
        f"study {study.id}: {fault}"
        for study in dump["study"]
        for check in (counters_agree, attempts_agree, events_agree, values_agree)
        for fault in check(study, {name: _of(study, rows) for name, rows in dump.items()})
    ]


def _rows(connection: Connection, table: str) -> list[Any]:
    found = Table.metadata.tables[table]
    return list(connection.execute(select(found).order_by(*found.primary_key.columns)))


def _of(study: Any, rows: Sequence[Any]) -> list[Any]:
    return [row for row in rows if getattr(row, "study_id", None) == study.id]


def counters_agree(study: Any, tables: Mapping[str, list[Any]]) -> Iterator[str]:
    trials = tables["trial"]
    states = Counter(trial.state for trial in trials)
    if [trial.number for trial in trials] != list(range(study.allocated)):
        yield f"allocated {study.allocated}, but the numbers are {[trial.number for trial in trials]}"
    if study.running != states[TrialState.RUNNING]:
        yield f"running {study.running}, but {states[TrialState.RUNNING]} trials are"
    if study.finished != sum(states[state] for state in FINAL_TRIAL_STATES):
        yield f"finished {study.finished}, but the trials are {dict(states)}"
    if study.allocated > study.budget:
        yield f"allocated {study.allocated} of {study.budget}"
    seqs = [trial.seq for trial in trials]
    if len(set(seqs)) < len(seqs) or max(seqs, default=0) > study.seq:
        yield f"the trials' seqs are {seqs}, the study's is {study.seq}"
    points = [trial.grid_index for trial in trials if trial.grid_index is not None]
    if len(set(points)) < len(points):
        yield f"grid points came twice: {sorted(points)}"


def attempts_agree(study: Any, tables: Mapping[str, list[Any]]) -> Iterator[str]:
    del study
    held = [(lease.number, lease.attempt) for lease in tables["lease"]]
    running = [(trial.number, trial.attempt) for trial in tables["trial"] if trial.state == TrialState.RUNNING]
    if held != running:
        yield f"leases {held}, running {running}"
    attempts = [(row.number, row.attempt) for row in tables["attempt"]]
    expected = [(trial.number, place) for trial in tables["trial"] for place in range(1, trial.attempt + 1)]
    if attempts != expected:
        yield f"attempts {attempts}, expected {expected}"
    unfinished = [(row.number, row.attempt) for row in tables["attempt"] if row.finished_at is None]
    if unfinished != running:
        yield f"attempts without an end {unfinished}, running {running}"


def events_agree(study: Any, tables: Mapping[str, list[Any]]) -> Iterator[str]:
    """Replay the log: every move is allowed, and the last one of each trial is where it stands."""
    trials: dict[int, str] = {}
    own: str | None = None
    for event in tables["event"]:
        before = own if event.number is None else trials.get(event.number)
        moves: Mapping[Any, Any] = STUDY_MOVES if event.number is None else TRIAL_MOVES
        if event.source != before or (before is not None and event.target not in moves[before]):
            yield f"event {event.seq} moves {event.number} from {event.source} to {event.target}; it was {before}"
        if event.number is None:
            own = event.target
        else:
            trials[event.number] = event.target
    stand = {trial.number: trial.state for trial in tables["trial"]}
    if trials != stand or own != study.state:
        yield f"the events lead to {own} and {trials}, the tables say {study.state} and {stand}"
    if max((event.seq for event in tables["event"]), default=0) > study.seq:
        yield "an event is newer than its study"
    if study.state in {StudyState.COMPLETED, StudyState.FAILED} and study.running + study.finished < study.allocated:
        yield f"{study.state}, and trials still wait"


def values_agree(study: Any, tables: Mapping[str, list[Any]]) -> Iterator[str]:
    del study
    for trial in tables["trial"]:
        waits = trial.state == TrialState.QUEUED and trial.waiting_step is not None
        with_values = waits or trial.state in {TrialState.COMPLETED, TrialState.PRUNED}
        if trial.values is not None and not (with_values and all(isfinite(value) for value in trial.values.values())):
            yield f"trial {trial.number} is {trial.state} with values {trial.values}"
