"""A trial's measurements, and the best trial of a study."""

from itertools import pairwise
from typing import Any

import pytest

from models.states import TrialState
from search.trials.claiming import Claimer
from search.trials.dispatch import Ran, Report, Result
from search.trials.failures import Failure
from tests.api.stage import Stage, faults, problem, study


@pytest.fixture(scope="module")
def measured(shared: Stage) -> str:
    """Return a trial that reported at the steps 1 to 100."""
    made = shared.create()["id"]
    (claim,) = shared.worker.claim(queue="cpu", capacity=1)
    shared.worker.report([Report(claim, step, {"val_accuracy": step / 1000}) for step in range(1, 101)])
    return f"{made}-0"


def test_measurements_come_by_step(shared: Stage, measured: str) -> None:
    page = shared.get(f"/trials/{measured}/measurements")
    assert page["next"] is None
    assert page["data"] == [{"step": step, "values": {"val_accuracy": step / 1000}} for step in range(1, 101)]


@pytest.mark.parametrize("points", [2, 3, 10, 33, 99])
def test_points_thin_them_out_evenly(shared: Stage, measured: str, points: int) -> None:
    steps = [item["step"] for item in shared.get(f"/trials/{measured}/measurements", points=points)["data"]]
    assert len(steps) == points
    assert (steps[0], steps[-1]) == (1, 100)
    gaps = {after - before for before, after in pairwise(steps)}
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("points", "expected"), [(1, [100]), (100, list(range(1, 101))), (10_000, list(range(1, 101)))]
)
def test_few_and_many_points(shared: Stage, measured: str, points: int, expected: list[int]) -> None:
    steps = [item["step"] for item in shared.get(f"/trials/{measured}/measurements", points=points)["data"]]
    assert steps == expected


@pytest.mark.parametrize("points", [0, -1, 10_001, "x"])
def test_points_that_are_none(shared: Stage, measured: str, points: object) -> None:
    reply = shared.client.get(f"/v1/trials/{measured}/measurements", params={"points": str(points)})
    assert faults(reply).keys() == {"query.points"}


def test_the_best_is_the_best_completed_one(stage: Stage) -> None:
    made = stage.create(study("wine-random"))["id"]
    address = f"/v1/studies/{made}/best"
    assert "no trial" in problem(stage.client.get(address))["detail"]
    claims = stage.worker.claim(queue="cpu", capacity=5)
    ends = [
        (TrialState.PRUNED, {"val_loss": 0.01}),
        (TrialState.DIVERGED, None),
        (TrialState.COMPLETED, {"val_loss": 0.3, "val_accuracy": 0.9}),
        (TrialState.COMPLETED, {"val_loss": 0.2, "val_accuracy": 0.8}),
        (TrialState.FAILED, None),
    ]
    stage.worker.finish([Result(claims[0], *ends[0]), Result(claims[1], *ends[1])])
    assert problem(stage.client.get(address))["status"] == 404
    stage.worker.finish([Result(claim, *end) for claim, end in zip(claims[2:], ends[2:], strict=True)])
    best = stage.get(f"/studies/{made}/best")
    assert (best["trial"]["number"], best["values"]["val_loss"]) == (3, 0.2)
    assert best["params"] == best["trial"]["params"]
    shown = stage.get(f"/studies/{made}")
    assert shown["best"] == {"number": 3, "value": 0.2}
    assert shown["counts"] == {"completed": 2, "pruned": 1, "diverged": 1, "failed": 1}
    assert shown["progress"] == {"allocated": 5, "finished": 5, "running": 0, "budget": 30}


def test_a_study_to_maximize_has_the_highest(stage: Stage) -> None:
    made = stage.create()["id"]
    stage.run(3, lambda number: [0.5, 0.9, 0.7][number])
    assert stage.get(f"/studies/{made}/best")["values"] == {"val_accuracy": 0.9}
    assert stage.get(f"/studies/{made}")["best"] == {"number": 1, "value": 0.9}


def test_a_trial_tells_how_it_was_trained(stage: Stage) -> None:
    made = stage.create()["id"]
    claims = stage.worker.claim(queue="cpu", capacity=3)
    ran = Ran("mlp 8, iris, batch 16, cpu", 2, 0.25, None)
    stage.worker.finish([Result(claims[0], TrialState.COMPLETED, values={"val_accuracy": 0.5}, ran=ran)])
    shown = stage.get(f"/trials/{made}-0")
    said = {"lane": "mlp 8, iris, batch 16, cpu", "population": 2, "seconds": 0.25, "alone": None}
    assert shown["execution"] == said
    assert [(attempt["population"], attempt["seconds"]) for attempt in shown["attempts"]] == [(2, 0.25)]
    rows = stage.get(f"/studies/{made}/trials", fields="number,execution")["data"]
    assert rows == [{"number": number, "execution": None if number else said} for number in range(3)]


def test_a_trial_tells_what_its_attempts_died_of(stage: Stage) -> None:
    made = stage.create()["id"]
    (claim,) = stage.worker.claim(queue="cpu", capacity=1)
    failed = Result(claim, TrialState.FAILED, failure=Failure.USER_ERROR, error="Traceback: bad shape")
    stage.worker.finish([failed])
    shown = stage.get(f"/trials/{made}-0")
    assert shown["state"] == "failed"
    assert shown["reason"].startswith("user_error")
    (attempt,) = shown["attempts"]
    assert (attempt["attempt"], attempt["state"], attempt["error"]) == (1, "ended", "Traceback: bad shape")


@pytest.mark.parametrize("search", [{"strategy": "sobol"}, {"strategy": "bayesian", "startup": 1}])
def test_a_replay_shows_both_points(stage: Stage, search: Any) -> None:
    made = stage.create({**study("iris-grid"), "search": search, "budget": {"trials": 3}})["id"]
    for _ in range(3):
        stage.run(1)
    for number in range(3):
        trial = stage.get(f"/trials/{made}-{number}")
        assert stage.get(f"/trials/{made}-{number}/replay") == {
            "id": trial["id"],
            "matches": True,
            "params": trial["params"],
            "derived": trial["params"],
            "why": trial["why"],
            "note": None,
        }


def test_what_cannot_be_replayed(stage: Stage) -> None:
    made = stage.create({**study("iris-grid"), "search": {"strategy": "bayesian"}, "budget": {"trials": 3}})["id"]
    assert problem(stage.client.get(f"/v1/trials/{made}-0/replay"))["status"] == 404
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Claimer, "_suggest", lambda *_: [])
        stage.worker.claim(queue="cpu", capacity=1)
    waiting = problem(stage.client.get(f"/v1/trials/{made}-0/replay"))
    assert (waiting["status"], waiting["detail"]) == (
        409,
        "the trial has no point yet; ask again once it has been suggested",
    )
