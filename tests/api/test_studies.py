"""A study's life over HTTP: change, pause, resume, cancel, delete."""

from typing import Any

import pytest

from tests.api.stage import Stage, faults, problem, study


def act(stage: Stage, made: str, verb: str) -> Any:
    return stage.client.post(f"/v1/studies/{made}:{verb}")


def patch(stage: Stage, made: str, edits: Any) -> Any:
    return stage.client.patch(f"/v1/studies/{made}", json=edits)


def test_pause_resume_cancel(stage: Stage) -> None:
    made = stage.create()["id"]
    for verb, state in [("pause", "paused"), ("pause", "paused"), ("resume", "running"), ("resume", "running")]:
        reply = act(stage, made, verb)
        assert (reply.status_code, reply.json()["state"]) == (200, state)
        assert stage.get(f"/studies/{made}") == reply.json()
        assert (stage.worker.claim(queue="cpu", capacity=1) == []) is (state == "paused")
    reply = act(stage, made, "cancel")
    assert (reply.json()["state"], reply.json()["reason"]) == ("cancelled", "cancelled")
    assert stage.worker.claim(queue="cpu", capacity=1) == []
    assert act(stage, made, "cancel").json() == reply.json()


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_cancelled_study_stays_so(stage: Stage, verb: str) -> None:
    made = stage.create()["id"]
    act(stage, made, "cancel")
    reply = act(stage, made, verb)
    assert reply.status_code == 409
    assert "cancelled" in problem(reply)["detail"]


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_a_completed_study_stays_so(stage: Stage, verb: str) -> None:
    made = stage.create(study("iris-grid", budget__trials=1))["id"]
    stage.run(1)
    assert stage.get(f"/studies/{made}")["state"] == "completed"
    reply = act(stage, made, verb)
    assert reply.status_code == 409
    assert "completed" in problem(reply)["detail"]


def test_edits_change_what_they_name(stage: Stage) -> None:
    before = stage.create(study("wine-random", labels={"team": "a", "kind": "b"}, budget__seconds=60))
    edits = {"name": "another", "labels": {"team": "c"}, "parallelism": 3, "budget": {"trials": 7}}
    reply = patch(stage, before["id"], edits)
    assert reply.status_code == 200
    after = reply.json()
    assert after["name"] == after["definition"]["name"] == "another"
    assert after["labels"] == after["definition"]["labels"] == {"team": "c"}
    assert after["parallelism"] == after["definition"]["parallelism"] == 3
    assert after["progress"]["budget"] == after["definition"]["budget"]["trials"] == 7
    assert after["seconds"] == after["definition"]["budget"]["seconds"] == 60
    same = {"id", "state", "seed", "queue", "created_at", "started_at", "finished_at", "counts", "best"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert stage.get(f"/studies/{before['id']}") == after


def test_null_takes_a_limit_away(stage: Stage) -> None:
    made = stage.create()["id"]
    assert patch(stage, made, {"parallelism": 2, "budget": {"seconds": 5}}).json()["parallelism"] == 2
    after = patch(stage, made, {"parallelism": None, "budget": {"seconds": None}}).json()
    assert (after["parallelism"], after["seconds"]) == (None, None)
    assert after["progress"]["budget"] == 24


def test_more_budget_reopens_a_completed_study(stage: Stage) -> None:
    made = stage.create(study("wine-random", metrics=[{"name": "val_accuracy", "goal": "maximize"}], budget__trials=2))
    stage.run(2)
    assert stage.get(f"/studies/{made['id']}")["state"] == "completed"
    after = patch(stage, made["id"], {"budget": {"trials": 4}}).json()
    assert (after["state"], after["finished_at"], after["progress"]["budget"]) == ("running", None, 4)
    stage.run(2)
    assert stage.get(f"/studies/{made['id']}")["state"] == "completed"


def test_a_budget_below_what_is_allocated_is_refused(stage: Stage) -> None:
    made = stage.create()["id"]
    stage.worker.claim(queue="cpu", capacity=5)
    before = stage.get(f"/studies/{made}")
    assert "5 trials" in faults(patch(stage, made, {"budget": {"trials": 4}}))["budget.trials"]
    assert stage.get(f"/studies/{made}") == before
    assert patch(stage, made, {"budget": {"trials": 5}}).status_code == 200


def test_a_grid_takes_no_more_than_its_points(stage: Stage) -> None:
    made = stage.create(study("iris-grid", budget__trials=5))["id"]
    assert patch(stage, made, {"budget": {"trials": 1000}}).json()["progress"]["budget"] == 24


def test_delete(stage: Stage) -> None:
    made = stage.create()["id"]
    stage.run(2)
    address = f"/v1/studies/{made}"
    refused = stage.client.delete(address)
    assert refused.status_code == 409
    assert "cancel it" in problem(refused)["detail"]
    act(stage, made, "cancel")
    gone = stage.client.delete(address)
    assert (gone.status_code, gone.content) == (204, b"")
    assert "content-type" not in gone.headers
    for path in (address, f"{address}/trials", f"/v1/trials/{made}-0", f"/v1/trials/{made}-0/measurements"):
        assert stage.client.get(path).status_code == 404
    assert stage.client.delete(address).status_code == 404
    assert stage.rows() == dict.fromkeys(stage.rows(), 0)


def test_a_cancelled_study_is_kept_while_its_trials_run(stage: Stage) -> None:
    made = stage.create()["id"]
    (claim,) = stage.worker.claim(queue="cpu", capacity=1)
    act(stage, made, "cancel")
    assert stage.client.delete(f"/v1/studies/{made}").status_code == 409
    assert stage.worker.heartbeat([claim]) == {claim.token: "cancelled"}


def test_unicode_comes_back_composed(stage: Stage) -> None:
    made = stage.create(study("iris-grid", name="e\u0301tude ▲ 日本", labels={"cle\u0301": "🙂 \u202e"}))
    assert made["name"] == "étude ▲ 日本"
    assert stage.get(f"/studies/{made['id']}")["labels"] == {"clé": "🙂 \u202e"}


def test_numbers_come_back_as_they_were(stage: Stage) -> None:
    lr = {"type": "float", "low": 1e-7, "high": 0.30000000000000004, "scale": "log"}
    made = stage.create(study("wine-random", space__lr=lr, search__seed=2**53 - 1))
    assert made["definition"]["space"]["lr"] == lr
    assert made["seed"] == 2**53 - 1
