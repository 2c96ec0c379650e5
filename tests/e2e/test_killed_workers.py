"""Studies whose workers are killed on the way: every number once, every grid point once, the budget exact."""

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from models.session import Database
from tests.support.crew import held_by
from tests.support.deployment import Deployment, celery_workers, composed, descendants, embedded, wait_for
from tests.support.ledger import Ledger, broken_promises
from tests.support.redis_server import Broker
from tuneup import Study

OBJECTIVE = {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [8]}, "epochs": 60}
GRID64: dict[str, Any] = {
    "name": "64 points",
    "objective": OBJECTIVE,
    "metrics": [{"name": "val_loss", "goal": "minimize"}],
    "space": {
        "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
        "lr": {"type": "float", "low": 0.001, "high": 0.5, "scale": "log", "levels": 8},
        "batch_size": {"type": "categorical", "choices": [8, 16, 32, 64]},
    },
    "search": {"strategy": "grid", "seed": 5},
}
RANDOM32: dict[str, Any] = {
    **GRID64,
    "name": "32 trials",
    "search": {"strategy": "random", "seed": 6},
    "budget": {"trials": 32},
}

Start = Callable[..., Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """Return how to start the service: embedded over SQLite, or composed over PostgreSQL and Redis."""

    @contextmanager
    def over_sqlite(workers: int) -> Iterator[tuple[Deployment, str]]:
        with embedded(tmp_path, workers=workers) as service:
            yield service, f"sqlite:///{tmp_path / 'data' / 'tuneup.db'}"

    @contextmanager
    def over_postgres(workers: int) -> Iterator[tuple[Deployment, str]]:
        url, broker = request.getfixturevalue("postgres_url"), request.getfixturevalue("redis_url")
        with composed(tmp_path, database_url=url, broker_url=broker, workers=workers) as service:
            yield service, url

    return over_sqlite if request.param == "sqlite" else over_postgres


def _mains(workers: int) -> list[psutil.Process]:
    """Return the main processes of all Celery workers that this process has started, however deep; wait for all."""
    me = psutil.Process().pid
    wait_for(lambda: len(celery_workers(me)) >= workers, seconds=60, what=f"{workers} workers")
    return celery_workers(me)


def _kill_all(victim: psutil.Process) -> None:
    """Kill a worker with all its children, as a host that loses its power."""
    for process in [victim, *descendants(victim.pid)]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def _running(study: Study) -> int:
    return int(study.refresh().progress["running"])


def _one_at_work(ledger: Ledger, workers: list[psutil.Process]) -> psutil.Process:
    """Wait until one of these workers holds a trial; return it."""
    wait_for(lambda: any(held_by(ledger, worker) for worker in workers), seconds=120, what="a worker at work")
    return max(workers, key=lambda worker: held_by(ledger, worker))


@contextmanager
def _ledger(url: str) -> Iterator[Ledger]:
    database = Database(url)
    try:
        yield Ledger(database, project=1)
    finally:
        database.dispose()


def _promises(url: str) -> list[str]:
    with _ledger(url) as ledger:
        assert ledger.rows("lease") == []
        return broken_promises(ledger)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_grid_of_64_points_with_8_workers_of_which_two_are_killed(start: Start) -> None:
    with start(workers=8) as (service, url), _ledger(url) as ledger:
        mains = _mains(8)
        study = service.client.create_study(GRID64)
        for _ in range(2):
            wait_for(lambda: _running(study) >= 6, seconds=120, what="six trials running")
            _kill_all(_one_at_work(ledger, mains))
        study.wait(timeout=400)
        trials = list(study.trials())
        assert _promises(url) == []
    assert study.state == "completed"
    assert sorted(trial["number"] for trial in trials) == list(range(64))
    assert len({json.dumps(trial["params"], sort_keys=True) for trial in trials}) == 64
    assert all(trial["state"] in {"completed", "diverged"} for trial in trials)
    assert any(trial["attempt"] > 1 for trial in trials), "no kill hit a trial"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_budget_of_32_with_16_workers_is_32_whatever_is_killed(start: Start) -> None:
    """A supervisor, a trainer or a whole worker dies every second while the study runs."""
    rng = random.Random(32)
    with start(workers=16) as (service, url):
        _mains(16)
        study = service.client.create_study(RANDOM32)
        kills = 0
        wait_for(lambda: _running(study) > 0, seconds=120, what="a trial running")
        while kills < 12 and study.refresh().state == "running":
            worker = rng.choice(_mains(1))
            victims = [worker, *descendants(worker.pid)]
            with suppress(psutil.NoSuchProcess):
                rng.choice(victims).send_signal(signal.SIGKILL)
                kills += 1
            time.sleep(1)
        study.wait(timeout=600)
        trials = list(study.trials())
        assert _promises(url) == []
    assert kills >= 5
    assert study.progress == {"allocated": 32, "finished": 32, "running": 0, "budget": 32}
    assert sorted(trial["number"] for trial in trials) == list(range(32))


@pytest.mark.slow
def test_a_study_completes_with_redis_stopped_all_the_while(postgres_url: str, broker: Broker, tmp_path: Path) -> None:
    with composed(tmp_path, database_url=postgres_url, broker_url=broker.url, workers=2) as service:
        wait_for(lambda: len(list(service.client.workers())) == 2, seconds=60, what="two workers that have said hello")
        broker.stop()
        study = service.client.create_study({**GRID64, "budget": {"trials": 12}}).wait(timeout=240)
        assert _promises(postgres_url) == []
        broker.start()
    assert study.progress == {"allocated": 12, "finished": 12, "running": 0, "budget": 12}
