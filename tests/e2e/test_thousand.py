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
from tests.support.crew import held_by
from tests.support.deployment import Deployment, celery_workers, composed, descendants, embedded, wait_for
from tests.support.ledger import Ledger, broken_promises
from tuneup import Study

SILENT = "its worker fell silent"
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


def trainer_of(worker: psutil.Process) -> psutil.Process | None:
    """Return the trainer of a worker, if there is one."""
    for child in descendants(worker.pid):
        with suppress(psutil.Error):
            if "training" in child.cmdline():
                return child
    return None


def lost(ledger: Ledger) -> Counter[str]:
    """Count the attempts that were lost: those that a silent worker held as `silent`, the others by their reason."""
    attempts = [row for row in ledger.rows("attempt") if row.state == "lost"]
    return Counter("silent" if (row.error or "").startswith(SILENT) else row.reason for row in attempts)


def kill_worker(ledger: Ledger, worker: psutil.Process) -> None:
    """Kill a worker that holds many trials, with all its processes."""
    wait_for(lambda: held_by(ledger, worker) >= 8, seconds=60, what="a worker that holds eight trials")
    for process in [worker, *descendants(worker.pid)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_a_lane(ledger: Ledger, worker: psutil.Process) -> None:
    """Kill the trainer of a worker; once more where it had just finished all it had, so that no lane was lost."""
    known: set[int] = set()

    def another() -> bool:
        """Once there is a new trainer, all that the last one lost has been written."""
        found = trainer_of(worker)
        return found is not None and found.pid not in known

    while not lost(ledger)["lane"]:
        wait_for(another, seconds=60, what="a trainer")
        wait_for(lambda: held_by(ledger, worker) >= 8, seconds=60, what="a worker that holds eight trials")
        trainer = trainer_of(worker)
        assert trainer is not None
        known.add(trainer.pid)
        trainer.kill()
        wait_for(another, seconds=60, what="a trainer in place of the killed one")


def finished(study: Study) -> int:
    """Return how many trials have ended."""
    return int(study.refresh().progress["finished"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_trials_are_a_thousand_whatever_is_killed(
    served: tuple[Deployment, str], capsys: pytest.CaptureFixture[str]
) -> None:
    service, url = served
    victim, other = mains()
    database = Database(url)
    ledger = Ledger(database, project=1)
    try:
        began = time.monotonic()
        study = service.client.create_study(THOUSAND)
        wait_for(lambda: finished(study) >= 150, seconds=900, what="150 finished trials")
        kill_worker(ledger, victim)
        wait_for(lambda: finished(study) >= 350, seconds=900, what="350 finished trials")
        kill_a_lane(ledger, other)
        study.wait(timeout=900)
        took = time.monotonic() - began
        assert broken_promises(ledger) == []
        assert ledger.rows("lease") == []
        attempts, missing = ledger.rows("attempt"), lost(ledger)
    finally:
        database.dispose()
    assert study.state == "completed"
    assert study.progress == {"allocated": 1000, "finished": 1000, "running": 0, "budget": 1000}
    trials = list(study.trials())
    assert sorted(trial["number"] for trial in trials) == list(range(1000))
    states = Counter(trial["state"] for trial in trials)
    assert states.keys() <= {"completed", "pruned", "diverged"}
    assert min(states["pruned"], states["completed"]) > 50
    ended = Counter(row.number for row in attempts if row.state == "ended")
    assert ended == Counter(range(1000)), "a trial with no result, or with two"
    assert {row.state for row in attempts} <= {"ended", "lost", "released"}
    assert missing["silent"] > 1, "no trial was lost with the worker"
    with capsys.disabled():
        sys.stdout.write(
            f"\n1,000 trials in {took:.0f} s: {dict(states)}; {len(attempts)} attempts, lost {dict(missing)}\n"
        )
