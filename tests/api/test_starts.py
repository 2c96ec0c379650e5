"""Points given to a study, reuse, warm starts and verdicts, over HTTP."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from sqlalchemy import Connection, Engine, event

from api.examples import GIVEN_TRIALS
from models.states import TrialState
from search.trials.dispatch import Result
from tests.api.stage import DOCUMENT, Stage, faults, problem, study

SPACE = {
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
    "warmup": {"type": "float", "low": 0.0, "high": 0.5},
}
POINT = {"lr": 0.01, "warmup": 0.1}
MARK = {"network": "mlp-64", "data": "digits-1"}


def _study(**more: Any) -> dict[str, Any]:
    space = more.pop("space", SPACE)
    plain = study("wine-random", metrics=[{"name": "val_loss", "goal": "minimize"}], budget={"trials": 4})
    return {**plain, "search": {"strategy": "random", "seed": 1}, "pruning": None, "space": space, **more}


def _run(stage: Stage) -> None:
    """Run all there is; the loss is the distance of lr from 1, with a little of the seed."""
    while claims := stage.worker.claim(queue="cpu", capacity=8):
        values = [{"val_loss": 1 - claim.params["lr"] + claim.seed % 1000 / 1e6} for claim in claims]
        stage.worker.finish(
            [Result(claim, TrialState.COMPLETED, values=each) for claim, each in zip(claims, values, strict=True)]
        )


@pytest.mark.parametrize("name", GIVEN_TRIALS)
def test_examples_of_given_trials_are_taken(stage: Stage, name: str) -> None:
    body: dict[str, Any] = GIVEN_TRIALS[name]["value"] or {}
    schema = {"$ref": "#/components/schemas/GivenTrialsIn", "components": DOCUMENT["components"]}
    jsonschema.validate(body, schema)
    made = stage.create(_study())
    reply = stage.client.post(f"/v1/studies/{made['id']}/trials", json=body)
    assert reply.status_code == 201, reply.text
    assert [trial["params"] for trial in reply.json()["data"]] == [given["params"] for given in body["trials"]]


def test_the_same_key_adds_once(stage: Stage) -> None:
    made = stage.create(_study())
    headers = {"Idempotency-Key": "once"}
    replies = [
        stage.client.post(f"/v1/studies/{made['id']}/trials", json={"trials": [{"params": POINT}]}, headers=headers)
        for _ in range(2)
    ]
    assert replies[0].json() == replies[1].json()
    assert stage.rows()["trial"] == 1


BAD: list[tuple[Any, list[str]]] = [
    ({}, ["trials"]),
    ({"trials": []}, ["trials"]),
    ({"trials": [{}]}, ["trials[0].params"]),
    ({"trials": [{"params": POINT, "x": 1}, {"params": 3}]}, ["trials[0].x", "trials[1].params"]),
    ({"trials": [{"params": POINT, "state": "running"}]}, ["trials[0].state"]),
    ({"trials": [{"params": POINT, "values": {"val_loss": "low"}}]}, ["trials[0].values.val_loss"]),
    ({"trials": [{"params": {"lr": 7, "warmup": 0}}, {"params": POINT, "state": "completed"}]},
     ["trials[0].params.lr", "trials[1].values.val_loss"]),
    ({"trials": [{"params": POINT}] * 1001}, ["trials"]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "paths"), BAD)
def test_bad_points_are_refused_whole(stage: Stage, body: Any, paths: list[str]) -> None:
    made = stage.create(_study())
    before = stage.rows()
    assert sorted(faults(stage.client.post(f"/v1/studies/{made['id']}/trials", json=body))) == paths
    assert stage.rows() == before


def test_not_a_number_is_named(stage: Stage) -> None:
    made = stage.create(_study())
    body = '{"trials": [{"params": {"lr": NaN, "warmup": 0.1}}]}'
    headers = {"Content-Type": "application/json"}
    assert "trials[0].params.lr" in faults(
        stage.client.post(f"/v1/studies/{made['id']}/trials", content=body, headers=headers)
    )


def test_no_room_and_no_such_study(stage: Stage) -> None:
    made = stage.create(_study())
    body = {"trials": [{"params": POINT}] * 5}
    assert problem(stage.client.post(f"/v1/studies/{made['id']}/trials", json=body))["status"] == 409
    assert problem(stage.client.post("/v1/studies/0000000000000/trials", json=body))["status"] == 404


def test_the_default_point_comes_first(stage: Stage) -> None:
    space = {**SPACE, "lr": {**SPACE["lr"], "default": 0.02}}
    made = stage.create(_study(space=space))
    (trial,) = stage.get(f"/studies/{made['id']}/trials")["data"]
    assert (trial["number"], trial["origin"], trial["params"]) == (0, "default", {"lr": 0.02, "warmup": 0.0})
    assert trial["why"] == {"defaults": {"lr": "space", "warmup": "catalog"}}
    assert made["definition"]["start_from_default"] is True
    other = stage.create(_study(space=space, start_from_default=False))
    assert stage.get(f"/studies/{other['id']}/trials")["data"] == []


def test_a_warm_start_takes_the_best_points_over(stage: Stage) -> None:
    old = stage.create(_study())
    _run(stage)
    best = stage.get(f"/studies/{old['id']}/best")
    narrow = {**SPACE, "lr": {**SPACE["lr"], "high": 0.001}}
    for start in ("auto", {"studies": [old["id"]], "trials": 2}):
        made = stage.create(_study(space=narrow, warm_start=start))
        first, second = stage.get(f"/studies/{made['id']}/trials")["data"]
        assert first["why"]["warm_start"] == best["trial"]["id"]
        assert first["why"]["study"] == old["id"]
        assert first["params"] == {"lr": min(0.001, best["params"]["lr"]), "warmup": best["params"]["warmup"]}
        assert second["params"] != first["params"]


def test_earlier_studies_are_compared_before_anything_is_written(stage: Stage) -> None:
    stage.create(_study(fingerprint=MARK))
    _run(stage)
    body = _study(warm_start="auto", fingerprint=MARK)
    with _listed() as modes:
        stage.create(body)
    assert modes == ["DEFERRED"] * 2  # by fingerprint, and the newest
    with _listed() as modes:
        stage.create({**body, "warm_start": "off"})
    assert modes == []


@contextmanager
def _listed() -> Iterator[list[str]]:
    """Collect in what kind of transaction lists of studies are read meanwhile."""
    modes: list[str] = []

    def note(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if "ORDER BY study.created_at" in statement:
            modes.append(connection.get_execution_options()["tuneup_mode"])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield modes
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_the_same_fingerprint_comes_first(stage: Stage) -> None:
    marked = stage.create(_study(fingerprint=MARK))
    _run(stage)
    stage.create(_study(search={"strategy": "random", "seed": 2}))
    _run(stage)
    made = stage.create(_study(warm_start="auto", fingerprint=MARK))
    assert {t["why"]["study"] for t in stage.get(f"/studies/{made['id']}/trials")["data"]} == {marked["id"]}


def test_studies_that_cannot_be_started_from_are_named(stage: Stage) -> None:
    other = stage.create(_study(metrics=[{"name": "val_accuracy", "goal": "maximize"}]))
    before = stage.rows()
    body = _study(warm_start={"studies": ["0000000000000", other["id"], "nonsense"]})
    assert sorted(faults(stage.client.post("/v1/studies", json=body))) == [
        f"warm_start.studies[{place}]" for place in range(3)
    ]
    assert stage.rows() == before


def test_an_unchanged_study_is_answered_by_an_earlier_one(stage: Stage) -> None:
    first = stage.create(_study(fingerprint=MARK, reuse=True))
    assert first["reused"] is False
    assert stage.create(_study(fingerprint=MARK, reuse=True))["id"] != first["id"]  # it has not completed
    _run(stage)
    reply = stage.client.post(
        "/v1/studies", json=_study(name="again", fingerprint=MARK, reuse=True, budget={"trials": 3})
    )
    assert reply.status_code == 200
    assert (reply.json()["reused"], reply.json()["state"]) == (True, "completed")
    for change in (
        {"budget": {"trials": 5}},
        {"space": {"lr": SPACE["lr"]}},
        {"fingerprint": {**MARK, "data": "digits-2"}},
        {"search": {"strategy": "random", "seed": 2}},
    ):
        body = {**_study(fingerprint=MARK, reuse=True), **change}
        assert stage.client.post("/v1/studies", json=body).status_code == 201, change


def test_a_study_that_was_cut_short_is_no_answer(stage: Stage) -> None:
    made = stage.create(_study(fingerprint=MARK, budget={"trials": 50, "seconds": 0.001}))
    claims = stage.worker.claim(queue="cpu", capacity=1)
    time.sleep(0.002)
    stage.worker.finish([Result(claim, TrialState.COMPLETED, values={"val_loss": 0.5}) for claim in claims])
    assert stage.worker.claim(queue="cpu", capacity=1) == []
    assert stage.get(f"/studies/{made['id']}")["state"] == "completed"
    for budget in ({"trials": 50}, {"trials": 50, "seconds": 0.001}, {"trials": 1, "seconds": 0.001}):
        assert stage.create(_study(fingerprint=MARK, reuse=True, budget=budget))["reused"] is False


def test_what_was_imported_makes_no_study_larger(stage: Stage) -> None:
    made = stage.create(_study(fingerprint=MARK, budget={"trials": 2}))
    found = {"params": POINT, "state": "completed", "values": {"val_loss": 0.5}}
    stage.client.post(f"/v1/studies/{made['id']}/trials", json={"trials": [found] * 2})
    _run(stage)
    for trials, reused in ((2, True), (3, False)):
        body = _study(fingerprint=MARK, reuse=True, budget={"trials": trials})
        assert stage.client.post("/v1/studies", json=body).json()["reused"] is reused


def test_a_verdict_comes_with_the_end(stage: Stage) -> None:
    made = stage.create(_study(budget={"trials": 12}, verdict={"replicates": 4}))
    path = f"/v1/studies/{made['id']}/verdict"
    assert problem(stage.client.get(path))["status"] == 409
    _run(stage)
    verdict = stage.get(f"/studies/{made['id']}/verdict")
    assert verdict["verdict"] == "improved"
    assert verdict["interval"][0] < verdict["difference"] < verdict["interval"][1] < 0
    assert verdict["winner"] == verdict["finalists"][0]
    assert len(verdict["winner"]["values"]) == len(verdict["baseline"]["values"]) == 4
    assert verdict["baseline"]["params"] == {"lr": 1e-3, "warmup": 0.0}
    assert problem(stage.client.get(f"/v1/studies/{stage.create(_study())['id']}/verdict"))["status"] == 404


BAD_STUDIES: list[tuple[dict[str, Any], list[str]]] = [
    ({"verdict": {"replicates": 2}}, ["verdict.replicates"]),
    ({"verdict": {"replicates": 3}, "budget": {"trials": 6}}, ["verdict.replicates"]),
    ({"verdict": {"baseline": "best"}}, ["verdict.baseline"]),
    ({"verdict": {"baseline": {"params": {"lr": 3, "x": 1}}}, "budget": {"trials": 99}},
     ["verdict.baseline.params.lr", "verdict.baseline.params.warmup", "verdict.baseline.params.x"]),
    ({"verdict": {"confidence": 1.0, "finalists": 0, "x": 1}}, ["verdict.confidence", "verdict.finalists", "verdict.x"]),
    ({"warm_start": "on"}, ["warm_start"]),
    ({"warm_start": {"studies": [], "trials": 0}}, ["warm_start.studies", "warm_start.trials"]),
    ({"warm_start": {"studies": ["a", "a"]}}, ["warm_start.studies[1]"]),
    ({"fingerprint": {"network": ""}}, ["fingerprint.data", "fingerprint.network"]),
    ({"reuse": True}, ["fingerprint"]),
    ({"reuse": "yes"}, ["reuse"]),
    ({"start_from_default": 1}, ["start_from_default"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "paths"), BAD_STUDIES)
def test_bad_starts_and_verdicts_are_named(stage: Stage, change: dict[str, Any], paths: list[str]) -> None:
    before = stage.rows()
    assert sorted(faults(stage.client.post("/v1/studies", json=_study(**change)))) == paths
    assert stage.rows() == before


def test_a_grid_has_no_default_to_start_from(stage: Stage) -> None:
    body = {**study("iris-grid"), "start_from_default": True}
    assert sorted(faults(stage.client.post("/v1/studies", json=body))) == ["start_from_default"]
