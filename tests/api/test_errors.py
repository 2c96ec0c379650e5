"""Every error is a problem: unknown addresses and methods, ids that are none, and faults of the service itself."""

import secrets
from typing import Any

import pytest

from models.ids import new_study_id, show_study
from models.session import Database, Unavailable
from models.studies import ensure_project
from search.clock import utc_now
from search.definition.examples import EXAMPLE_STUDIES
from search.studies import service
from tests.api.stage import Stage, problem

IDS = [
    "x", "0" * 13, "z" * 13, "%00", "a%00b", "%ED%A0%80", "%ff", "é", "日本", "-", "..%2F..", "%2e%2e", "null", "1",
    "x" * 8000, "A" * 13, "0" * 12 + "%00", "' OR 1=1 --", "<script>", "{study_id}", "0000000000000-1", "*",
]  # fmt: skip
PATHS = [
    ("GET", "/v1/studies/{}"),
    ("PATCH", "/v1/studies/{}"),
    ("DELETE", "/v1/studies/{}"),
    ("POST", "/v1/studies/{}:pause"),
    ("POST", "/v1/studies/{}:resume"),
    ("POST", "/v1/studies/{}:cancel"),
    ("GET", "/v1/studies/{}/best"),
    ("GET", "/v1/studies/{}/trials"),
    ("GET", "/v1/trials/{}"),
    ("GET", "/v1/trials/{}/measurements"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_ids_that_are_none_are_404(shared: Stage, method: str, path: str) -> None:
    made = shared.create()["id"]
    trials = [f"{made}-0", f"{made}-00", f"{made}-", f"{made}-x", f"{made}-9999999999", f"{made}--1", f"{made}-%D9%A1"]
    for wrong in [*IDS, *trials, made.upper(), made + "0", made[:-1]]:
        body: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
        reply = shared.client.request(method, path.format(wrong), **body)
        assert reply.status_code == 404, wrong
        problem(reply)


def test_another_projects_things_are_404(stage: Stage) -> None:
    def foreign(connection: Any) -> str:
        project = ensure_project(connection, "another", utc_now())
        made = service.create_study(connection, project, EXAMPLE_STUDIES["iris-grid"], now=utc_now())
        return show_study(made.view.record.id)

    study = stage.ledger.database.write(foreign)
    (claim,) = stage.worker.claim(queue="cpu", capacity=1)
    assert claim.id == f"{study}-0"
    before = stage.ledger.dump()
    for method, path in PATHS:
        body: dict[str, Any] = {"json": {"name": "mine"}} if method == "PATCH" else {}
        reply = stage.client.request(method, path.format(study if "/trials/{" not in path else claim.id), **body)
        assert reply.status_code == 404, path
        problem(reply)
    assert stage.get("/studies")["data"] == []
    assert stage.ledger.dump() == before


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/", "/v1/nowhere", "/v1/studies/a/b", "/v1/studies/"])
def test_unknown_addresses_are_404(shared: Stage, path: str) -> None:
    reply = shared.client.get(path, follow_redirects=False)
    assert reply.status_code == 404
    problem(reply)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/studies", "GET, HEAD, POST"),
        ("DELETE", "/v1/studies", "GET, HEAD, POST"),
        ("OPTIONS", "/v1/studies/0000000000000", "DELETE, GET, HEAD, PATCH"),
        ("PUT", "/v1/studies/0000000000000:pause", "POST"),
        ("POST", "/v1/trials/0000000000000-1", "GET, HEAD"),
        ("TRACE", "/v1/workers", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
def test_other_methods_are_405(shared: Stage, method: str, path: str, allowed: str) -> None:
    reply = shared.client.request(method, path)
    assert (reply.status_code, reply.headers["allow"]) == (405, allowed)
    problem(reply)


@pytest.mark.parametrize("path", ["/v1/studies", "/v1/optimizers", "/healthz", "/readyz", "/v1/openapi.json"])
def test_head_is_a_get_without_its_body(shared: Stage, path: str) -> None:
    head, get = shared.client.head(path), shared.client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == get.headers
    assert shared.client.head(path, headers={"If-None-Match": get.headers["etag"]}).status_code == 304


def test_head_of_what_is_not_there(shared: Stage) -> None:
    assert shared.client.head(f"/v1/studies/{show_study(new_study_id())}").status_code == 404


@pytest.mark.parametrize("query", ["?sate=running", "?limit=5&page=2", "?", "?limit=5"])
def test_unknown_parameters_are_named(shared: Stage, query: str) -> None:
    reply = shared.client.get(f"/v1/studies{query}")
    strange = {"?sate=running": "query.sate", "?limit=5&page=2": "query.page"}.get(query)
    if strange is None:
        assert reply.status_code == 200
    else:
        assert problem(reply)["errors"] == [
            {"path": strange, "message": "no such parameter; valid are state, label, limit, cursor"}
        ]


def test_a_database_that_is_away_is_503(shared: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise Unavailable("the database is not available: gone")

    monkeypatch.setattr(Database, "read", away)
    for path in ("/v1/studies", "/readyz"):
        reply = shared.client.get(path)
        assert reply.status_code == 503
        assert 1 <= int(reply.headers["retry-after"]) <= 5
        assert "gone" not in problem(reply)["detail"]
    assert shared.client.get("/healthz").status_code == 200


def test_what_nobody_expected_is_500_without_its_message(
    shared: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = secrets.token_hex()

    def broken(*_: object) -> None:
        raise RuntimeError(secret)

    monkeypatch.setattr(Database, "read", broken)
    reply = shared.client.get("/v1/studies")
    assert reply.status_code == 500
    assert secret not in reply.text
    problem(reply)
    assert secret in caplog.text


def test_a_database_of_another_revision_is_not_ready(shared: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.routes.health.is_current", lambda _: False)
    reply = shared.client.get("/readyz")
    assert reply.status_code == 503
