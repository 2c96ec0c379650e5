"""A thousand trials in lanes on two workers, one of which is killed, and then a trainer."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from models.session import Database
from tests.support.deployment import Deployment, celery_workers, composed, descendants, embedded, wait_for
from tests.support.ledger import Ledger, broken_promises
from tuneup import Study

THOUSAND: dict[str, Any] = {
    "name": "a thousand",
    "objective": {
        "recipe": "classifier",
        "data": "digits",
        "network": {"kind": "mlp", "hidden": [32]},
        "epochs": 9,
    },
    "metrics": [{"name": "val_accuracy", "goal": "maximize"}],
    "space": {
        "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "adam"]},
        "lr": {"type": "float", "low": 0.001, "high": 1.0, "scale": "log"},
        "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
    },
    "search": {"strategy": "random", "seed": 9},
    "pruning": {"kind": "asha", "reduction": 3, "min_steps": 1},
    "budget": {"trials": 1000},
}


@pytest.fixture(params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Deployment, str]]:
    """Yield the service with two workers, embedded over SQLite or composed over PostgreSQL, and its database's URL."""
    url = f"sqlite:///{tmp_path / 'data' / 'tuneup.db'}"
    service: AbstractContextManager[Deployment]
    if request.param == "sqlite":
        service = embedded(tmp_path, workers=2)
    else:
        url, broker = request.getfixturevalue("postgres_url"), request.getfixturevalue("redis_url")
        service = composed(tmp_path, database_url=url, broker_url=broker, workers=2)
    with service as running:
        yield running, url


def mains() -> list[psutil.Process]:
    """Return the main processes of both workers; wait for them."""
    me = psutil.Process().pid
    wait_for(lambda: len(celery_workers(me)) == 2, seconds=60, what="two workers")
    return celery_workers(me)


def trainer_of(worker: psutil.Process) -> psutil.Process:
    """Return the trainer of a worker; wait for one."""

    def found() -> list[psutil.Process]:
        trainers = []
        for child in descendants(worker.pid):
            with suppress(psutil.Error):
                if "training" in child.cmdline():
                    trainers.append(child)
        return trainers

    wait_for(lambda: bool(found()), seconds=60, what="a trainer")
    return found()[0]


def reach(study: Study, finished: int) -> None:
    """Wait until so many trials are finished and many run."""
    wait_for(lambda: study.refresh().progress["finished"] >= finished, seconds=900, what=f"{finished} finished trials")
    wait_for(lambda: study.refresh().progress["running"] >= 8, seconds=60, what="eight that run")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_trials_are_a_thousand_whatever_is_killed(
    served: tuple[Deployment, str], capsys: pytest.CaptureFixture[str]
) -> None:
    service, url = served
    mains()
    began = time.monotonic()
    study = service.client.create_study(THOUSAND)
    reach(study, 250)
    victim, other = mains()
    for process in [victim, *descendants(victim.pid)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    reach(study, 500)
    trainer_of(other).kill()
    study.wait(timeout=900)
    took = time.monotonic() - began
    assert study.state == "completed"
    assert study.progress == {"allocated": 1000, "finished": 1000, "running": 0, "budget": 1000}
    trials = list(study.trials())
    assert sorted(trial["number"] for trial in trials) == list(range(1000))
    states = Counter(trial["state"] for trial in trials)
    assert states.keys() <= {"completed", "pruned", "diverged"}
    assert states["pruned"] > 300
    assert states["completed"] > 50
    database = Database(url)
    try:
        ledger = Ledger(database, project=1)
        assert broken_promises(ledger) == []
        assert ledger.rows("lease") == []
        attempts = ledger.rows("attempt")
    finally:
        database.dispose()
    ended = Counter(row.number for row in attempts if row.state == "ended")
    assert ended == Counter(range(1000)), "a trial with no result, or with two"
    lost = Counter(row.reason for row in attempts if row.state == "lost")
    assert lost["infrastructure"] > 1, "no trial was lost with the worker"
    assert lost["lane"] > 1, "no lane was lost with the trainer"
    assert {row.state for row in attempts} <= {"ended", "lost", "released"}
    with capsys.disabled():
        sys.stdout.write(
            f"\n1,000 trials in {took:.0f} s: {dict(states)}; {len(attempts)} attempts, lost {dict(lost)}\n"
        )
