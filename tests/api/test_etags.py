"""Every GET carries an ETag: 304 while nothing changed, 200 with another tag once something did."""

import re
from typing import Any

from search.trials.dispatch import Report
from tests.api.stage import DOCUMENT, Stage, study

GETS = [path for path, operations in DOCUMENT["paths"].items() if "get" in operations]
TAG = re.compile(r'"[0-9a-f]{32}"')


def test_every_get_is_tagged(stage: Stage) -> None:
    made = stage.create(study("iris-grid", verdict={"replicates": 3}, budget={"trials": 16}))["id"]
    stage.run(10)
    stage.run(6)
    for path in [*GETS, "/v1/openapi.json"]:
        address = path.replace("{study_id}", made).replace("{trial_id}", f"{made}-0")
        first = stage.client.get(address)
        tag = first.headers["etag"]
        assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
        assert TAG.fullmatch(tag)
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = stage.client.get(address, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        for unknown in ('"other"', tag.strip('"'), tag.upper()):
            assert stage.client.get(address, headers={"If-None-Match": unknown}).content == first.content


def test_tags_change_when_something_does(stage: Stage) -> None:
    made = stage.create()["id"]
    (claim,) = stage.worker.claim(queue="cpu", capacity=1)
    study, trials, trial = f"/studies/{made}", f"/studies/{made}/trials", f"/trials/{made}-0"
    watched = ["/studies", study, trials, f"{trials}?since=0", trial, f"{trial}/measurements"]
    tags = {path: tag(stage, path) for path in watched}

    stage.worker.report([Report(claim, 1, {"val_accuracy": 0.5})])
    assert changed(stage, tags) == {f"{trial}/measurements"}
    stage.client.patch(f"/v1{study}", json={"name": "another"})
    assert changed(stage, tags) == {"/studies", study}
    stage.run(1)
    assert changed(stage, tags) == {"/studies", study, trials, f"{trials}?since=0"}
    assert changed(stage, tags) == set()


def tag(stage: Stage, path: str) -> str:
    return str(stage.client.get(f"/v1{path}").headers["etag"])


def changed(stage: Stage, tags: dict[str, str]) -> set[str]:
    """Ask for what is new; return the paths that were, and remember their tags."""
    new: dict[str, str] = {}
    for path, known in tags.items():
        reply: Any = stage.client.get(f"/v1{path}", headers={"If-None-Match": known})
        if reply.status_code != 304:
            new[path] = reply.headers["etag"]
    tags |= new
    return set(new)


def test_errors_and_writes_have_no_tag(shared: Stage) -> None:
    assert "etag" not in shared.client.get("/v1/studies/x").headers
    assert shared.client.get("/v1/studies/x", headers={"If-None-Match": "*"}).status_code == 404
    made = shared.create()["id"]
    reply = shared.client.patch(f"/v1/studies/{made}", json={"name": "b"}, headers={"If-None-Match": "*"})
    assert (reply.status_code, "etag" in reply.headers) == (200, False)
