"""Bodies that are no study at all: too large, no JSON, or of another type."""

import json
from collections.abc import Iterator

import pytest

from api.bodies import MOST_BYTES, parse
from search.definition.examples import EXAMPLE_STUDIES
from tests.api.stage import Stage, faults, problem

JSON = {"Content-Type": "application/json"}
DEEP = 100_000

MALFORMED: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "line 1, column 1"),
    ("blank", b"  \n ", "line 2, column 2"),
    ("truncated", b'{"name":', "line 1, column 9"),
    ("a word", b"study", "line 1, column 1"),
    ("YAML", b"name: a\n", "line 1, column 1"),
    ("two values", b"{} {}", "line 1, column 4"),
    ("a raw NUL", b'{"name": "\0"}', "line 1, column 11"),
    ("not UTF-8", b'{"name": "\xff"}', "byte 10"),
    ("UTF-16", json.dumps(EXAMPLE_STUDIES["iris-grid"]).encode("utf-16"), "UTF-8"),
    ("deep lists, unclosed", b"[" * DEEP, "nested"),
    ("deep lists", b"[" * DEEP + b"]" * DEEP, "nested"),
    ("deep objects", b'{"a":' * DEEP + b"1" + b"}" * DEEP, "nested"),
    ("deep enough to write but not to read", b"[" * 300 + b"]" * 300, "nested"),
    ("a name twice", b'{"space": {"lr": 1, "lr": 2}}', "'lr' stands twice"),
]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(("body", "said"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_malformed_json_is_400(shared: Stage, method: str, body: bytes, said: str) -> None:
    made = shared.create()
    before = shared.rows()
    path = "/v1/studies" if method == "POST" else f"/v1/studies/{made['id']}"
    reply = shared.client.request(method, path, content=body, headers=JSON | {"Idempotency-Key": "malformed"})
    assert reply.status_code == 400
    assert said in problem(reply)["detail"]
    assert shared.rows() == before


def test_a_huge_number_is_named_by_its_path(shared: Stage) -> None:
    reply = shared.client.post("/v1/studies", content=b'{"a": ' + b"9" * 500_000 + b"}", headers=JSON)
    assert "2^53" in faults(reply)["a"]
    reply = shared.client.post("/v1/studies", content=b'{"a": -' + b"9" * 500 + b', "b": 1e400}', headers=JSON)
    assert "2^53" in faults(reply)["a"]
    assert "finite" in faults(reply)["b"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_passed_over(mark: bytes) -> None:
    assert parse(mark + b'{"a": "\xc3\xa9"}') == {"a": "é"}


@pytest.mark.parametrize(
    "media_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/yaml", "application/json; charset=latin-1"],
)
def test_another_type_is_415(shared: Stage, media_type: str | None) -> None:
    body = json.dumps(EXAMPLE_STUDIES["iris-grid"]).encode()
    headers = {"Content-Type": media_type} if media_type else {}
    reply = shared.client.post("/v1/studies", content=body, headers=headers)
    assert reply.status_code == 415
    assert "application/json" in problem(reply)["detail"]


@pytest.mark.parametrize("media_type", ["application/json; charset=UTF-8", "Application/JSON"])
def test_json_by_any_spelling(shared: Stage, media_type: str) -> None:
    body = json.dumps(EXAMPLE_STUDIES["iris-grid"]).encode()
    assert shared.client.post("/v1/studies", content=body, headers={"Content-Type": media_type}).status_code == 201


def test_a_body_of_the_very_limit_is_read(shared: Stage) -> None:
    text = json.dumps(EXAMPLE_STUDIES["iris-grid"]).encode()
    body = text + b" " * (MOST_BYTES - len(text))
    assert shared.client.post("/v1/studies", content=body, headers=JSON).status_code == 201


@pytest.mark.parametrize("path", ["/v1/studies", "/v1/studies/x:pause", "/nowhere"])
def test_an_announced_large_body_is_413(shared: Stage, path: str) -> None:
    reply = shared.client.post(path, content=b" " * (MOST_BYTES + 1), headers=JSON)
    assert reply.status_code == 413
    assert str(MOST_BYTES) in problem(reply)["detail"]


@pytest.mark.parametrize("length", ["9" * 400, "1048577"])
def test_the_announcement_is_enough(shared: Stage, length: str) -> None:
    reply = shared.client.post("/v1/studies", content=b"{}", headers=JSON | {"Content-Length": length})
    assert reply.status_code == 413


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_streamed_large_body_is_413(shared: Stage, method: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    path = "/v1/studies" if method == "POST" else f"/v1/studies/{shared.create()['id']}"
    reply = shared.client.request(method, path, content=chunks(), headers=JSON)
    assert reply.status_code == 413
    problem(reply)
