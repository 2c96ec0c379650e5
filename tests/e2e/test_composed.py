"""The same service over PostgreSQL and Redis, started with the commands of docker-compose.yml."""

import json
from pathlib import Path
from typing import Any

from tests.support.deployment import composed
from tests.support.postgres import fresh_database

STUDY: dict[str, Any] = {
    "name": "wine",
    "objective": {"recipe": "classifier", "data": "wine", "network": {"kind": "mlp", "hidden": [16]}, "epochs": 8},
    "metrics": [{"name": "val_loss", "goal": "minimize"}],
    "space": {
        "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "adam"]},
        "lr": {"type": "float", "low": 0.001, "high": 1.0, "scale": "log"},
        "warmup": {"type": "float", "low": 0.0, "high": 0.3},
        "batch_size": {"type": "categorical", "choices": [16, 32]},
    },
    "search": {"strategy": "bayesian", "seed": 1, "startup": 5},
    "pruning": {"kind": "asha", "reduction": 3},
    "budget": {"trials": 12},
}


def test_two_workers_tune_a_study_by_the_command_line(postgres_url: str, redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    file.write_text(json.dumps(STUDY))
    with composed(tmp_path, database_url=postgres_url, broker_url=redis_url, workers=2) as service:
        ran = service.cli("run", str(file), "--json", "--timeout", "3m")
        assert ran.returncode == 0, ran.stderr + (tmp_path / "worker.log").read_text()[-2000:]
        study = json.loads(ran.stdout)["study"]
        assert study["progress"] == {"allocated": 12, "finished": 12, "running": 0, "budget": 12}
        origins = {trial["origin"] for trial in service.client.get_study(study["id"]).trials()}
        assert origins == {"startup", "model"}
        assert service.cli("status", study["id"]).returncode == 0


def test_a_budget_of_30_with_8_workers_is_30_trials(postgres_url: str, redis_url: str, tmp_path: Path) -> None:
    many = {**STUDY, "name": "thirty", "search": {"strategy": "random", "seed": 2}, "budget": {"trials": 30}}
    with composed(tmp_path, database_url=postgres_url, broker_url=redis_url, workers=8) as service:
        study = service.client.create_study(many).wait(timeout=240)
        trials = list(study.trials())
    assert study.progress == {"allocated": 30, "finished": 30, "running": 0, "budget": 30}
    assert sorted(trial["number"] for trial in trials) == list(range(30))


def test_two_processes_share_one_migration(postgres_server: str, redis_url: str, tmp_path: Path) -> None:
    """The commands may be run again on a database that is there already, with its studies kept."""
    with fresh_database(postgres_server) as url:
        with composed(tmp_path, database_url=url, broker_url=redis_url, workers=1) as service:
            made = service.client.create_study({**STUDY, "budget": {"trials": 2}}).wait(timeout=120)
        with composed(tmp_path, database_url=url, broker_url=redis_url, workers=1) as service:
            assert service.client.get_study(made.id).state == made.state
