"""What clients send under an Idempotency-Key: done once, answered alike, also when it broke off half way."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from search.trials.claiming import Claimer
from tests.api.clients import HEADER, MODEL, RANDOM, VALUES, ask, ok, post
from tests.api.stage import Stage, settings
from tests.support.ledger import together


@pytest.mark.parametrize("raw", [RANDOM, MODEL], ids=["random", "bayesian"])
@pytest.mark.parametrize("body", [{"count": 2}, {"count": 2, "client_id": "me"}], ids=["nameless", "named"])
def test_the_same_ask_gets_the_same_reply_for_ever(stage: Stage, raw: Any, body: Any) -> None:
    made = stage.create(raw)
    path = f"/studies/{made['id']}/trials:ask"
    first = post(stage, path, body, key="ask")
    assert len(ok(first)["data"]) == 2
    assert post(stage, path, body, key="ask").content == first.content
    for trial in first.json()["data"]:
        ok(
            post(
                stage,
                f"/trials/{trial['id']}:tell",
                {"token": trial["token"], "values": {"val_loss": 0.5, "val_accuracy": 0.5}},
            )
        )
    assert post(stage, path, body, key="ask").content == first.content
    assert stage.rows()["trial"] == 2
    assert len(ok(post(stage, path, body, key="other"))["data"]) == 2
    assert stage.rows()["trial"] == 4
    assert post(stage, path, {**body, "count": 3}, key="ask").status_code == 422


@pytest.mark.parametrize("raw", [RANDOM, MODEL], ids=["random", "bayesian"])
def test_twins_under_one_key_get_one_set_of_trials(stage: Stage, raw: Any) -> None:
    path = f"/studies/{stage.create(raw)['id']}/trials:ask"
    replies = together(6, lambda _: post(stage, path, {"count": 2}, key="twins"))
    assert [reply.status_code for reply in replies] == [200] * 6
    assert len({reply.content for reply in replies}) == 1
    assert stage.rows()["trial"] == 2


@pytest.mark.parametrize("body", [{"count": 2}, {"count": 2, "client_id": "me"}], ids=["nameless", "named"])
@pytest.mark.parametrize("restarted", [False, True])
def test_an_ask_broken_off_half_way_goes_on_under_its_key(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, body: Any, *, restarted: bool
) -> None:
    path = f"/v1/studies/{stage.create(MODEL)['id']}/trials:ask"
    with monkeypatch.context() as patch:
        patch.setattr(Claimer, "_read_history", _die)
        assert post(stage, path.removeprefix("/v1"), body, key="half").status_code == 500
    assert [row.params for row in stage.ledger.rows("trial")] == [None, None]
    assert [row.status for row in stage.ledger.rows("idempotency_key")] == [None]
    tokens = [row.token for row in stage.ledger.rows("lease")]
    client = stage.client
    if restarted:
        client = TestClient(create_app(settings(stage.ledger.database.engine.url.render_as_string(False))))
        client.__enter__()
    first = client.post(path, json=body, headers={HEADER: "half"})
    assert [trial["token"] for trial in ok(first)["data"]] == tokens
    assert None not in [trial["params"] for trial in first.json()["data"]]
    assert client.post(path, json=body, headers={HEADER: "half"}).content == first.content
    assert stage.rows()["trial"] == 2
    if restarted:
        client.__exit__(None, None, None)


def _die(*_: object) -> None:
    raise RuntimeError("the process dies here")


@pytest.mark.parametrize("verb", [":tell", ":release", "/measurements", ":retry", ":cancel"])
def test_verbs_take_a_key(stage: Stage, verb: str) -> None:
    made = stage.create(RANDOM)
    (trial,) = ask(stage, made)["data"]
    token = {"token": trial["token"]}
    body: Any = {
        ":tell": {**token, "values": VALUES},
        ":release": token,
        "/measurements": {**token, "measurements": [{"step": 1, "values": VALUES}]},
    }.get(verb)
    if verb == ":retry":
        ok(post(stage, f"/trials/{trial['id']}:tell", {**token, "state": "failed"}))
    first = post(stage, f"/trials/{trial['id']}{verb}", body, key="key")
    ok(first)
    if verb in {":release", ":retry"}:  # a repeat of what was done must not undo what was done since
        ask(stage, made)
    seen = stage.ledger.dump()
    again = post(stage, f"/trials/{trial['id']}{verb}", body, key="key")
    assert (again.status_code, again.content) == (200, first.content)
    assert stage.ledger.dump() == seen
