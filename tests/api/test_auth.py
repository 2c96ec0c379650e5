"""With a key set, every address under /v1 wants it; without one the server listens on loopback alone."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.openapi import GUARD
from tests.api.stage import DOCUMENT, KEY, Stage, opened, problem

ROUTES = [(method.upper(), path) for path, operations in DOCUMENT["paths"].items() for method in operations]
GUARDED = [route for route in ROUTES if route[1].startswith(GUARD)]
OPEN = {("GET", "/healthz"), ("GET", "/readyz")}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


WRONG = [
    None, "", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Bearer {KEY.upper()}",
    f"Bearer\t{KEY}", KEY, f"Token {KEY}", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"\xff:\xff").decode(),
    basic(KEY, ""), basic("user", "wrong"), "Basic " + base64.b64encode(KEY.encode()).decode(), "Bearer ключ",
]  # fmt: skip


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Yield a service that wants a key."""
    folder: Path = tmp_path_factory.mktemp("locked")
    with opened(f"sqlite:///{folder / 'tuneup.db'}", key=KEY) as made:
        yield made


def test_the_document_names_every_route() -> None:
    assert {route for route in ROUTES if route not in GUARDED} == OPEN
    assert len(GUARDED) >= 17


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_every_route_wants_the_key(locked: Stage, method: str, path: str) -> None:
    address = re.sub(r"\{\w+\}", "0000000000000", path)
    refused = locked.client.request(method, address, content=b"{", headers={"Content-Type": "application/json"})
    assert refused.status_code == 401
    assert {"Basic", "Bearer"} <= set(re.findall(r"\w+", refused.headers["www-authenticate"]))
    assert "TUNEUP_API_KEY" in problem(refused)["detail"]
    let_in = locked.client.request(method, address, headers={"Authorization": f"Bearer {KEY}"})
    assert let_in.status_code != 401


@pytest.mark.parametrize("header", WRONG)
def test_anything_but_the_key_is_refused(locked: Stage, header: str | None) -> None:
    headers = {b"Authorization": header.encode()} if header is not None else {}
    reply = locked.client.get("/v1/studies", headers=headers)
    assert reply.status_code == 401
    assert KEY not in reply.text


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", basic("", KEY), basic("anyone", KEY)])
def test_the_key_lets_in(locked: Stage, header: str) -> None:
    assert locked.client.get("/v1/studies", headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/openapi.json"])
def test_what_holds_no_data_is_open(locked: Stage, path: str) -> None:
    assert locked.client.get(path).status_code == 200


def test_nothing_is_stored_without_the_key(locked: Stage) -> None:
    locked.client.post("/v1/studies", json={})
    assert locked.rows() == dict.fromkeys(locked.rows(), 0)


def test_no_key_asks_nobody(shared: Stage) -> None:
    assert shared.client.get("/v1/studies", headers={"Authorization": "Bearer anything"}).status_code == 200
