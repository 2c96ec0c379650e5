"""Trials asked for, measured and told over HTTP: the replies, and what is refused by how things stand."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from anyio import to_thread
from starlette.testclient import TestClient

from api.app import create_app
from models.states import TrialState
from search.trials.dispatch import Result
from search.trials.failures import Failure
from tests.api.clients import MODEL, RANDOM, VALUES, ask, ok, one, post, refused
from tests.api.stage import Stage, opened, problem, settings
from tests.support.ledger import together


def test_an_ask_without_a_body_gives_one_trial(stage: Stage) -> None:
    made = stage.create(RANDOM)
    before = datetime.now(UTC)
    reply = ok(post(stage, f"/studies/{made['id']}/trials:ask"))
    assert reply.keys() == {"client_id", "study_state", "data"}
    assert reply["study_state"] == "running"
    (trial,) = reply["data"]
    until = datetime.fromisoformat(trial.pop("lease_expires_at"))
    assert until - before >= timedelta(seconds=60)
    assert len(trial.pop("token")) == 32
    detail = stage.get(f"/trials/{trial['id']}")
    assert detail.pop("attempts")[0]["worker"] == f"client:{reply['client_id']}"
    assert detail == trial
    assert trial["params"]
    assert trial["state"] == "running"
    assert ok(post(stage, f"/studies/{made['id']}/trials:ask"))["client_id"] != reply["client_id"]


def test_the_lease_lasts_as_long_as_was_asked_for(stage: Stage) -> None:
    made = stage.create(RANDOM)
    for body, seconds in (({}, 60), ({"lease_seconds": 3600}, 3600), ({"lease_seconds": 1.5}, 1.5)):
        begun = datetime.now(UTC)
        (trial,) = ask(stage, made, **body)["data"]
        renewed = ok(post(stage, f"/trials/{trial['id']}/measurements", {"token": trial["token"]}))
        for until in (trial["lease_expires_at"], renewed["lease_expires_at"]):
            lasts = datetime.fromisoformat(until) - begun
            assert timedelta(seconds=seconds) <= lasts < timedelta(seconds=seconds + 50)
    assert [lease.seconds for lease in stage.ledger.rows("lease")] == [None, 3600.0, 1.5]


@pytest.mark.parametrize("raw", [RANDOM, MODEL], ids=["random", "bayesian"])
def test_a_study_from_ask_to_best(stage: Stage, raw: Any) -> None:
    made = stage.create({**raw, "budget": {"trials": 4}})
    for place in range(2):
        for trial in ask(stage, made, client_id=f"c{place}", count=2)["data"]:
            address = f"/trials/{trial['id']}"
            points = [{"step": step, "values": {"val_loss": 1.0 / step, "val_accuracy": 0.5}} for step in (1, 2)]
            said = ok(post(stage, f"{address}/measurements", {"token": trial["token"], "measurements": points}))
            assert (said["accepted"], said["should_stop"], said["reason"]) == (True, False, None)
            told = ok(post(stage, f"{address}:tell", {"token": trial["token"]}))
            assert (told["state"], told["values"]) == ("completed", {"val_loss": 0.5, "val_accuracy": 0.5})
    last = ask(stage, made)
    assert (last["study_state"], last["data"]) == ("completed", [])
    assert stage.get(f"/studies/{made['id']}/best")["trial"]["number"] == 0


def test_two_clients_of_one_name_at_once_hold_the_same_trials(stage: Stage) -> None:
    made = stage.create(MODEL)
    replies = together(4, lambda _: ask(stage, made, client_id="twin", count=2))
    tokens = {tuple(trial["token"] for trial in reply["data"]) for reply in replies}
    assert len(tokens) == 1
    assert len({json.dumps([trial["params"] for trial in reply["data"]]) for reply in replies}) == 1
    assert stage.rows()["trial"] == 2


def test_no_request_that_is_at_work_waits_for_a_connection(stage: Stage) -> None:
    app: Any = stage.client.app
    pool: Any = app.state.services.database.engine.pool
    portal: Any = stage.client.portal
    at_once = portal.call(_threads)
    assert 1 < at_once < pool.size() + pool._max_overflow


async def _threads() -> float:
    return to_thread.current_default_thread_limiter().total_tokens


def test_pruning_reaches_a_client(stage: Stage) -> None:
    made = stage.create({**RANDOM, "pruning": {"kind": "asha", "reduction": 2}})
    good, bad = ask(stage, made, count=2)["data"]

    def report(trial: Any, value: float) -> Any:
        points = [{"step": 1, "values": {"val_loss": value}}]
        return ok(post(stage, f"/trials/{trial['id']}/measurements", {"token": trial["token"], "measurements": points}))

    assert report(good, 0.1)["should_stop"] is False
    said = report(bad, 0.9)
    assert (said["accepted"], said["should_stop"]) == (True, True)
    assert said["reason"].startswith("asha")
    told = ok(post(stage, f"/trials/{bad['id']}:tell", {"token": bad["token"], "values": {"val_loss": 0.8}}))
    assert (told["state"], told["values"], told["reason"]) == ("pruned", {"val_loss": 0.8}, said["reason"])
    assert ok(post(stage, f"/trials/{good['id']}:tell", {"token": good["token"]}))["state"] == "completed"


def test_a_cancelled_trial_is_told_with_the_next_sign_of_life(stage: Stage) -> None:
    trial = one(stage)
    assert ok(post(stage, f"/trials/{trial['id']}:cancel"))["state"] == "running"
    said = ok(post(stage, f"/trials/{trial['id']}/measurements", {"token": trial["token"]}))
    assert (said["should_stop"], said["reason"]) == (True, "cancelled")
    assert ok(post(stage, f"/trials/{trial['id']}:release", {"token": trial["token"]}))["state"] == "cancelled"
    assert ok(post(stage, f"/trials/{trial['id']}:cancel"))["state"] == "cancelled"
    assert "is cancelled" in problem(post(stage, f"/trials/{trial['id']}:retry"))["detail"]


def test_a_failed_trial_is_retried_over_http(stage: Stage) -> None:
    made = stage.create({**RANDOM, "budget": {"trials": 1}})
    (trial,) = ask(stage, made)["data"]
    text = "Traceback (most recent call last):\r\n  x\x1b[31m\n\ud800KeyError: 'lr'\n"
    told = ok(post(stage, f"/trials/{trial['id']}:tell", {"token": trial["token"], "state": "failed", "reason": text}))
    assert (told["state"], told["reason"]) == ("failed", "user_error: \\ud800KeyError: 'lr'")
    (attempt,) = stage.get(f"/trials/{trial['id']}")["attempts"]
    assert attempt["error"] == "Traceback (most recent call last):\n  x\\x1b[31m\n\\ud800KeyError: 'lr'\n"
    assert stage.get(f"/studies/{made['id']}")["state"] == "failed"
    retried = ok(post(stage, f"/trials/{trial['id']}:retry"))
    assert (retried["state"], retried["attempt"]) == ("queued", 1)
    (again,) = ask(stage, made)["data"]
    assert (again["id"], again["attempt"], again["params"]) == (trial["id"], 2, trial["params"])
    assert again["token"] != trial["token"]
    assert (
        "attempt 2 runs it now"
        in refused(post(stage, f"/trials/{trial['id']}:tell", {"token": trial["token"], "values": VALUES}))["token"]
    )


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        (":tell", {"values": VALUES}),
        (":tell", {}),
        (":tell", {"state": "failed"}),
        (":release", {}),
        ("/measurements", {}),
        ("/measurements", {"measurements": [{"step": 1, "values": VALUES}]}),
    ],
)
def test_stale_and_foreign_tokens_change_nothing(stage: Stage, verb: str, body: Any) -> None:
    made = stage.create(RANDOM)
    first, second = ask(stage, made, count=2)["data"]
    ok(post(stage, f"/trials/{first['id']}:release", {"token": first["token"]}))
    (again,) = ask(stage, made)["data"]
    assert again["id"] == first["id"]
    before = stage.ledger.dump()
    for token, said in ((first["token"], "attempt 2 runs it now"), (second["token"], "never given")):
        reply = post(stage, f"/trials/{first['id']}{verb}", {"token": token, **body}, key="stale")
        assert said in refused(reply)["token"]
        assert "trials:ask" in refused(reply)["token"]
    assert stage.ledger.dump() == before


def test_a_result_that_stands_is_named(stage: Stage) -> None:
    trial = one(stage)
    address, token = f"/trials/{trial['id']}", trial["token"]
    first = ok(post(stage, f"{address}:tell", {"token": token, "values": VALUES}))
    before = stage.ledger.dump()
    assert ok(post(stage, f"{address}:tell", {"token": token, "values": VALUES})) == first
    assert (
        ok(post(stage, f"{address}:tell", {"token": token, "state": "completed", "values": {"val_loss": 5e-1}}))
        == first
    )
    assert "0.5" in refused(post(stage, f"{address}:tell", {"token": token, "values": {"val_loss": 0.6}}))["values"]
    assert "completed" in refused(post(stage, f"{address}:tell", {"token": token, "state": "diverged"}))["state"]
    points = [{"step": 9, "values": VALUES}]
    late = post(stage, f"{address}/measurements", {"token": token, "measurements": points})
    assert "completed" in refused(late)["token"]
    assert "completed" in refused(post(stage, f"{address}:release", {"token": token}))["token"]
    assert stage.ledger.dump() == before


def test_a_measurement_that_stands_is_named(stage: Stage) -> None:
    trial = one(stage)
    address = f"/trials/{trial['id']}/measurements"
    points = [{"step": step, "values": {"val_loss": 1.0 / step}} for step in (1, 2)]
    ok(post(stage, address, {"token": trial["token"], "measurements": points}))
    before = stage.ledger.dump()
    more = [{"step": 3, "values": VALUES}, {"step": 2, "values": {"val_loss": 0.9}}]
    said = refused(post(stage, address, {"token": trial["token"], "measurements": more}))
    assert said.keys() == {"measurements[1]"}
    assert 'step 2 has {"val_loss": 0.5}' in said["measurements[1]"]
    assert stage.ledger.dump() == before


@pytest.mark.parametrize("verb", [":ask", ":tell", ":release", "/measurements", ":retry", ":cancel"])
@pytest.mark.parametrize("name", ["0000000000000", "x", "%00", "0000000000000-0-0"])
def test_what_is_not_there_is_404(shared: Stage, verb: str, name: str) -> None:
    before = shared.ledger.dump()
    path = f"/studies/{name}/trials:ask" if verb == ":ask" else f"/trials/{name}-0{verb}"
    reply = post(shared, path, {} if verb == ":ask" else {"token": "a" * 32}, key="nothing")
    assert reply.status_code == 404
    assert "there is no" in problem(reply)["detail"]
    assert shared.ledger.dump() == before


@pytest.mark.parametrize("verb", ["retry", "cancel"])
def test_a_verb_that_does_not_fit_is_409_and_changes_nothing(stage: Stage, verb: str) -> None:
    stage.create()
    stage.run(1)
    trial = f"{stage.get('/studies')['data'][0]['id']}-0"
    before = stage.ledger.dump()
    reply = post(stage, f"/trials/{trial}:{verb}", key="no")
    assert reply.status_code == 409
    assert "is completed" in problem(reply)["detail"]
    assert stage.ledger.dump() == before


def test_a_worker_s_failure_is_retried_and_wakes_its_queue(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.create(RANDOM)
    (claim,) = stage.worker.claim(queue="cpu", capacity=1)
    stage.worker.finish([Result(claim, TrialState.FAILED, failure=Failure.USER_ERROR)])
    woken: list[Any] = []
    app: Any = stage.client.app
    monkeypatch.setattr(app.state.services.doorbell, "nudge", woken.append)
    assert ok(post(stage, f"/trials/{claim.id}:retry"))["state"] == "queued"
    assert woken == [["cpu"]]
    (again,) = stage.worker.claim(queue="cpu", capacity=1)
    assert again.key == (claim.study_id, claim.number, 2)


def test_a_silent_client_loses_its_trial_to_the_reaper(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API's own reaper takes it back; what the client says then comes too late."""
    monkeypatch.setenv("TUNEUP_REAPER_SECONDS", "0.2")
    with opened(database_url) as stage:
        made = stage.create(RANDOM)
        silent, talking = (one_of(stage, made, client) for client in ("silent", "talking"))
        deadline = time.monotonic() + 60
        while stage.get(f"/trials/{silent['id']}")["state"] == "running":
            ok(post(stage, f"/trials/{talking['id']}/measurements", {"token": talking["token"]}))
            assert time.monotonic() < deadline
            time.sleep(0.1)
        late = post(stage, f"/trials/{silent['id']}:tell", {"token": silent["token"], "values": VALUES})
        assert "attempt 2" in refused(late)["token"]
        attempt = stage.get(f"/trials/{silent['id']}")["attempts"][0]
        assert (attempt["worker"], attempt["state"], attempt["reason"]) == ("client:silent", "lost", "infrastructure")
        assert stage.get(f"/trials/{talking['id']}")["state"] == "running"


def one_of(stage: Stage, made: Any, client: str) -> Any:
    return ask(stage, made, client_id=client, lease_seconds=1)["data"][0]


def test_two_processes_give_one_client_the_same_trials(postgres_url: str) -> None:
    """Each API process has a claimer of its own; what they share is the database."""
    with opened(postgres_url) as stage, TestClient(create_app(settings(postgres_url))) as other:
        made = stage.create(MODEL)
        path = f"/v1/studies/{made['id']}/trials:ask"
        clients = [stage.client, other]
        body = {"client_id": "twin", "count": 3}
        replies = together(6, lambda place: clients[place % 2].post(path, json=body))
        shown = {json.dumps([[t["token"], t["params"]] for t in ok(reply)["data"]]) for reply in replies}
        assert len(shown) == 1
        assert stage.rows()["trial"] == 3
