"""Population based training over HTTP, by clients that keep checkpoints of their own."""

from typing import Any

from tests.api.clients import ask, ok, post
from tests.api.stage import Stage

RAW: dict[str, Any] = {
    "name": "lineages",
    "objective": {"external": True, "steps": 4},
    "metrics": [{"name": "loss", "goal": "minimize"}],
    "space": {"lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"}},
    "search": {"strategy": "pbt", "population": 4, "interval": 2, "seed": 7},
}


def test_a_client_is_told_the_parent_of_a_trial(stage: Stage) -> None:
    made = stage.create(RAW)
    assert (made["budget"]["trials"] if "budget" in made else made["definition"]["budget"]["trials"]) == 8
    kept: dict[str, int] = {}
    while trials := ask(stage, made, client_id="me", count=9)["data"]:
        for trial in trials:
            assert (trial["parent"] is None) == (trial["why"]["begins"] == 0)
            assert kept.get(trial["parent"], 0) == trial["why"]["begins"]
            kept[trial["id"]] = trial["why"]["ends"]
            ok(
                post(
                    stage, f"/trials/{trial['id']}:tell", {"token": trial["token"], "values": {"loss": trial["number"]}}
                )
            )
    assert sorted(kept.values()) == [2] * 4 + [4] * 4
    shown = stage.get(f"/studies/{made['id']}/trials")["data"]
    parents = [trial["parent"] for trial in sorted(shown, key=lambda trial: trial["number"])]
    assert parents == [None] * 4 + [f"{made['id']}-{number}" for number in (0, 1, 2, 0)]
    page = stage.client.get(f"/studies/{made['id']}").text
    assert [page.count(f"model after {number}<") for number in range(4)] == [2, 1, 1, 0]


def test_points_of_ones_own_are_refused(stage: Stage) -> None:
    made = stage.create(RAW)
    reply = post(stage, f"/studies/{made['id']}/trials", {"trials": [{"params": {"lr": 0.1}}]})
    assert reply.status_code == 409
    assert "whose members begin at points of its own" in reply.json()["detail"]
    assert stage.get(f"/studies/{made['id']}/trials")["data"] == []


def test_what_lineages_cannot_have_is_refused_by_field(stage: Stage) -> None:
    raw = {**RAW, "search": {**RAW["search"], "interval": 3}, "pruning": {"kind": "median"}}
    reply = post(stage, "/studies", raw)
    assert reply.status_code == 422
    assert {fault["path"] for fault in reply.json()["errors"]} == {"search.interval", "pruning"}
    assert stage.ledger.rows("study") == []
