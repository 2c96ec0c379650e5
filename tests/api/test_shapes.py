"""The shapes that scripts, CI jobs and the SDK rely on, walked from the POST to the best configuration."""

import re
from typing import Any

import pytest

from models.states import TrialState
from optim.catalog import COMMON, SCHEDULES, TRAINERS, WARMUPS
from search.definition.examples import EXAMPLE_STUDIES
from search.trials.dispatch import Report, Result
from tests.api.stage import Stage, problem, study, without

STUDY = {
    "id", "name", "state", "reason", "labels", "queue", "definition", "seed", "progress", "counts", "parallelism",
    "seconds", "gpu_seconds", "gpu_spent", "seq", "best", "reused", "created_at", "started_at", "finished_at",
}  # fmt: skip
TRIAL = {
    "id", "study_id", "number", "state", "params", "values", "attempt", "origin", "why", "reason", "seq",
    "created_at", "started_at", "finished_at", "execution", "waiting_step", "violation", "parent",
}  # fmt: skip
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.mark.parametrize("example", EXAMPLE_STUDIES)
def test_a_post_answers_with_the_study(stage: Stage, example: str) -> None:
    made = stage.create(dict(EXAMPLE_STUDIES[example]))
    budgets = {"digits-mlp": 100, "iris-grid": 24, "wine-random": 30, "digits-preset": 60}
    budget = (budgets | {"digits-scaled": 40, "wine-promotion": 200})[example]
    assert made.keys() == STUDY
    assert re.fullmatch(r"[0-9a-z]{13}", made["id"])
    assert made["state"] == "running"
    assert made["progress"] == {"allocated": 0, "finished": 0, "running": 0, "budget": budget}
    assert (made["counts"], made["best"], made["reason"], made["labels"]) == ({}, None, None, {})
    assert (made["name"], made["seed"], made["queue"]) == (example, 1, "cpu")
    assert MOMENT.fullmatch(made["created_at"])
    assert made["started_at"] is made["finished_at"] is None
    assert stage.get(f"/studies/{made['id']}") == made
    assert stage.get("/studies") == {"data": [made], "next": None}


def test_a_preset_is_read_back_as_its_parameters(stage: Stage) -> None:
    made = stage.create(study("digits-preset", budget={"trials": 10}))
    assert stage.get(f"/studies/{made['id']}") == made
    momentum, adamw = ({"when": {"optimizer": [name]}} for name in ("momentum", "adamw"))
    assert made["definition"]["space"] == {
        "optimizer": {"type": "categorical", "choices": ["adamw", "momentum"]},
        "lr": {"type": "float", "low": 1e-3, "high": 0.3, "scale": "log"},
        "momentum": {"type": "float", "low": 0.7, "high": 0.995, "scale": "reverse_log", **momentum},
        "beta1": {"type": "float", "low": 0.5, "high": 0.98, "scale": "reverse_log", **adamw},
        "weight_decay": {"type": "float", "low": 1e-7, "high": 1.0, "scale": "log"},
        "warmup": {"type": "float", "low": 0.0, "high": 0.1, "scale": "linear"},
    }
    raised = stage.client.patch(f"/v1/studies/{made['id']}", json={"budget": {"trials": 100}}).json()
    assert raised["definition"]["space"] == made["definition"]["space"]


def test_what_may_be_absent(stage: Stage) -> None:
    raw = without(study("iris-grid"), "budget", "pruning", "parallelism", "execution")
    made = stage.create(raw | {"search": {"strategy": "grid"}})
    assert made["progress"]["budget"] == 24
    assert (made["parallelism"], made["seconds"]) == (None, None)
    assert (made["definition"]["pruning"], made["definition"]["execution"]) == (None, "auto")
    assert isinstance(made["seed"], int)
    assert made["definition"]["budget"] == {"trials": 24, "seconds": None}


def test_a_smaller_budget_takes_the_first_points_of_a_grid(stage: Stage) -> None:
    whole, part = stage.create(), stage.create(study("iris-grid", budget__trials=5))
    assert part["progress"]["budget"] == 5
    for _ in range(29):
        stage.worker.claim(queue="cpu", capacity=1)
    first = stage.get(f"/studies/{whole['id']}/trials", limit=5)["data"]
    assert [t["params"] for t in stage.get(f"/studies/{part['id']}/trials")["data"]] == [t["params"] for t in first]


def test_seeds_are_drawn_and_recorded(stage: Stage) -> None:
    seeds = {stage.create(study("wine-random", search={"strategy": "random"}))["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_a_trial_from_its_claim_to_the_best(stage: Stage) -> None:
    made = stage.create(study("wine-random"))
    assert problem(stage.client.get(f"/v1/studies/{made['id']}/best"))["status"] == 404
    (claim,) = stage.worker.claim(queue="cpu", capacity=1)
    (running,) = stage.get(f"/studies/{made['id']}/trials")["data"]
    assert running.keys() == TRIAL
    assert (running["id"], running["study_id"], running["number"]) == (f"{made['id']}-0", made["id"], 0)
    assert (running["state"], running["attempt"], running["origin"]) == ("running", 1, "random")
    assert (running["values"], running["reason"], running["finished_at"]) == (None, None, None)
    assert running["params"].keys() == {"lr", "beta1", "weight_decay", "schedule"}

    values = {"train_loss": 0.2, "val_loss": 0.1 + 0.2, "val_accuracy": 0.9}
    stage.worker.report([Report(claim, 1, values)])
    stage.worker.finish([Result(claim, TrialState.COMPLETED, values=values)])
    trial = stage.get(f"/trials/{running['id']}")
    assert (trial["state"], trial["values"]) == ("completed", values)
    assert MOMENT.fullmatch(trial["started_at"])
    assert MOMENT.fullmatch(trial["finished_at"])
    assert stage.get(f"/trials/{running['id']}/measurements") == {"data": [{"step": 1, "values": values}], "next": None}
    (attempt,) = trial.pop("attempts")
    assert (attempt["state"], attempt["population"], attempt["seconds"]) == ("ended", 1, None)
    assert trial["execution"] is None
    assert trial.keys() == TRIAL
    best = stage.get(f"/studies/{made['id']}/best")
    assert best == {"trial": trial, "params": trial["params"], "values": values}

    after = stage.get(f"/studies/{made['id']}")
    assert after["best"] == {"number": 0, "value": values["val_loss"]}
    assert after["counts"] == {"completed": 1}
    assert after["progress"] == {"allocated": 1, "finished": 1, "running": 0, "budget": 30}
    assert after["seq"] > made["seq"]


def test_a_parameter_whose_condition_does_not_hold_is_absent(stage: Stage) -> None:
    space: dict[str, Any] = {
        "optimizer": {"type": "categorical", "choices": ["sgd", "momentum"]},
        "momentum": {"type": "float", "low": 0.5, "high": 0.9, "levels": 2, "when": {"optimizer": ["momentum"]}},
    }
    made = stage.create(study("iris-grid", space=space))
    assert made["progress"]["budget"] == 3
    stage.run(3)
    found = [trial["params"] for trial in stage.get(f"/studies/{made['id']}/trials")["data"]]
    assert sorted(found, key=str) == [
        {"optimizer": "momentum", "momentum": 0.5},
        {"optimizer": "momentum", "momentum": 0.9},
        {"optimizer": "sgd"},
    ]
    ended = stage.get(f"/studies/{made['id']}")
    assert (ended["state"], ended["reason"]) == ("completed", None)
    assert MOMENT.fullmatch(ended["finished_at"])


@pytest.mark.parametrize(
    ("catalog", "name"),
    [("optimizers", "adam"), ("schedules", "cosine"), ("objectives", "classifier"), ("strategies", "bayesian")],
)
def test_catalogs_are_lists(shared: Stage, catalog: str, name: str) -> None:
    page = shared.get(f"/{catalog}")
    assert page["next"] is None
    assert name in {entry["name"] for entry in page["data"]}


def test_catalogs_are_whole(shared: Stage) -> None:
    """What each catalog holds, as JSON has it: lists for tuples, and null where there is no recommended range."""
    optimizers = {entry["name"]: entry for entry in shared.get("/optimizers")["data"]}
    assert list(optimizers) == list(TRAINERS)
    rate = next(option for option in optimizers["adamw"]["options"] if option["name"] == "lr")
    assert rate == {
        "name": "lr", "title": "Learning rate", "kind": "float", "default": 1e-3, "choices": [], "scale": "log",
        "low": 0.0, "high": 1e6, "low_open": True, "high_open": False, "search_low": 1e-4, "search_high": 1e-2,
        "search_from": 0,
    }  # fmt: skip
    listed = [(entry["kind"], entry["name"]) for entry in shared.get("/schedules")["data"]]
    assert listed == [("schedule", name) for name in SCHEDULES] + [("warmup", name) for name in WARMUPS]
    recipe = next(entry for entry in shared.get("/objectives")["data"] if entry["name"] == "classifier")
    assert [option["name"] for option in recipe["options"]] == list(COMMON)
    shape = next(option for option in recipe["options"] if option["name"] == "warmup_shape")
    assert (shape["kind"], shape["choices"], shape["search_low"]) == ("choice", list(WARMUPS), None)
    milestones = [
        option["default"]
        for entry in shared.get("/schedules")["data"]
        for option in entry.get("options", [])
        if option["kind"] == "points"
    ]
    assert [0.5, 0.75] in milestones


def test_workers_are_listed_while_they_live(shared: Stage) -> None:
    assert shared.get("/workers") == {"data": [], "next": None}


def test_health(shared: Stage) -> None:
    assert shared.client.get("/healthz").json() == {"status": "ok"}
    assert shared.client.get("/readyz").json() == {"status": "ready"}
