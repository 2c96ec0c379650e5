"""Waiting, stopping and limits over HTTP: what a client is told, and what a study says of its end."""

from typing import Any

from tests.api.clients import RANDOM, ask, ok, post
from tests.api.stage import Stage, problem

EXTERNAL = {**RANDOM, "objective": {"external": True, "steps": 9}, "pruning": None}
PROMOTE = {"kind": "asha", "reduction": 2, "mode": "promote"}


def _report(stage: Stage, trial: Any, step: int, value: float) -> Any:
    points = [{"step": step, "values": {"val_loss": value}}]
    return ok(post(stage, f"/trials/{trial['id']}/measurements", {"token": trial["token"], "measurements": points}))


def _tell(stage: Stage, trial: Any, value: float) -> Any:
    return ok(post(stage, f"/trials/{trial['id']}:tell", {"token": trial["token"], "values": {"val_loss": value}}))


def test_a_trial_waits_and_is_given_out_again(stage: Stage) -> None:
    made = stage.create({**EXTERNAL, "pruning": PROMOTE, "budget": {"trials": 2}})
    good, bad = ask(stage, made, count=2)["data"]
    said = _report(stage, good, 1, 0.1)
    assert (said["should_stop"], said["reason"]) == (True, "asha: waits at step 1; of 1 there the best 0 go on")
    told = _tell(stage, good, 0.1)
    assert (told["state"], told["waiting_step"], told["values"]) == ("queued", 1, {"val_loss": 0.1})
    assert _tell(stage, good, 0.1) == told
    assert ask(stage, made, client_id="other")["data"] == []
    assert _report(stage, bad, 1, 0.9)["should_stop"] is True
    assert _tell(stage, bad, 0.9)["state"] == "queued"
    (again,) = ask(stage, made, client_id="other")["data"]
    assert (again["id"], again["attempt"], again["waiting_step"]) == (good["id"], 2, 1)
    assert _report(stage, again, 2, 0.2)["should_stop"] is True
    assert _tell(stage, again, 0.2)["waiting_step"] == 2
    (again,) = ask(stage, made, client_id="other")["data"]
    assert again["waiting_step"] == 2
    assert _report(stage, again, 9, 0.05)["should_stop"] is False
    assert _tell(stage, again, 0.05)["state"] == "completed"
    assert stage.get(f"/trials/{bad['id']}")["reason"] == "promotion: it waited at step 1 until the study ended"
    assert stage.get(f"/studies/{made['id']}")["state"] == "completed"


def test_a_target_stops_a_study_which_says_so(stage: Stage) -> None:
    made = stage.create({**EXTERNAL, "stopping": {"target": 0.2}})
    first, second = ask(stage, made, count=2)["data"]
    _tell(stage, first, 0.1)
    shown = stage.get(f"/studies/{made['id']}")
    why = f"stopping: target 0.2 reached by trial {first['id']} with val_loss 0.1"
    assert (shown["state"], shown["reason"]) == ("running", why)
    assert ask(stage, made, client_id="other")["data"] == []
    assert _report(stage, second, 1, 0.5)["should_stop"] is False
    assert _tell(stage, second, 0.5)["state"] == "completed"
    shown = stage.get(f"/studies/{made['id']}")
    assert (shown["state"], shown["reason"], shown["best"]["value"]) == ("completed", why, 0.1)
    refused = stage.client.patch(f"/v1/studies/{made['id']}", json={"budget": {"trials": 90}})
    assert problem(refused)["errors"][0]["path"] == "budget"
    reply = stage.client.patch(f"/v1/studies/{made['id']}", json={"budget": {"trials": 90}, "stopping": None})
    assert (reply.json()["state"], reply.json()["reason"]) == ("running", None)


def test_rules_that_are_none_are_refused_by_patch_as_by_post(stage: Stage) -> None:
    made = stage.create(EXTERNAL)
    refused = stage.client.patch(f"/v1/studies/{made['id']}", json={"stopping": {}})
    assert problem(refused)["errors"][0]["path"] == "stopping.target"
    assert stage.get(f"/studies/{made['id']}")["definition"]["stopping"] is None


def test_device_seconds_are_counted_and_limit(stage: Stage) -> None:
    made = stage.create({**EXTERNAL, "budget": {"trials": 9, "gpu_seconds": 1e-9}})
    (trial,) = ask(stage, made)["data"]
    _tell(stage, trial, 0.1)
    shown = stage.get(f"/studies/{made['id']}")
    assert shown["gpu_spent"] > 1e-9
    assert shown["gpu_seconds"] == 1e-9
    assert shown["state"] == "completed"
    assert shown["reason"].startswith("budget: 0 of 1e-09 device seconds are left, and a trial takes about")
