"""POSTs under an Idempotency-Key: done once, answered alike, whatever comes twice."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from models import idempotency
from search.clock import utc_now
from tests.api.stage import Stage, faults, opened, problem, study

HEADER = "Idempotency-Key"
RAW = study("wine-random")


def post(stage: Stage, key: str, raw: Any = RAW, path: str = "/v1/studies") -> Any:
    return stage.client.post(path, json=raw, headers={HEADER: key})


def test_the_same_request_is_done_once(stage: Stage) -> None:
    first, second = post(stage, "a"), post(stage, "a")
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert second.headers["content-type"] == first.headers["content-type"]
    assert post(stage, "a", dict(reversed(RAW.items()))).content == first.content
    assert post(stage, "b").json()["id"] != first.json()["id"]
    assert stage.rows()["study"] == 2


def test_the_stored_reply_outlives_what_it_told_of(stage: Stage) -> None:
    first = post(stage, "a")
    stage.run(2)
    address = f"/v1/studies/{first.json()['id']}"
    assert stage.client.post(f"{address}:cancel").status_code == 200
    assert stage.client.delete(address).status_code == 204
    assert post(stage, "a").content == first.content
    assert stage.rows()["study"] == 0


def test_another_request_with_a_used_key_is_refused(stage: Stage) -> None:
    made = post(stage, "a").json()
    address = f"/v1/studies/{made['id']}"
    for reply in (post(stage, "a", RAW | {"name": "b"}), post(stage, "a", None, f"{address}:pause")):
        assert reply.status_code == 422
        assert "new key" in problem(reply)["detail"]
    assert stage.get(f"/studies/{made['id']}") == made
    assert stage.rows()["study"] == 1


def test_what_was_refused_leaves_its_key_free(stage: Stage) -> None:
    assert faults(post(stage, "a", RAW | {"name": ""})).keys() == {"name"}
    assert post(stage, "a").status_code == 201


def test_twins_make_one_study(stage: Stage) -> None:
    together = Barrier(8)

    def twin(_: int) -> Any:
        together.wait()
        return post(stage, "twin")

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(twin, range(8)))
    assert [reply.status_code for reply in replies] == [201] * 8
    assert len({reply.content for reply in replies}) == 1
    assert stage.rows() == {"study": 1, "event": 1, "trial": 0, "idempotency_key": 1}


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_verbs_take_a_key(stage: Stage, verb: str) -> None:
    made = stage.create()
    address = f"/v1/studies/{made['id']}"
    if verb == "resume":
        stage.client.post(f"{address}:pause")
    first = post(stage, "key", None, f"{address}:{verb}")
    assert first.status_code == 200
    seen = stage.ledger.dump()
    if verb == "pause":  # a repeat of what was done must not undo what was done since
        stage.client.post(f"{address}:resume")
        seen = stage.ledger.dump()
    again = post(stage, "key", None, f"{address}:{verb}")
    assert (again.status_code, again.content) == (200, first.content)
    assert stage.ledger.dump() == seen


def test_a_key_is_bound_to_its_study_and_verb(stage: Stage) -> None:
    one, other = (f"/v1/studies/{stage.create()['id']}" for _ in range(2))
    assert post(stage, "key", None, f"{one}:pause").status_code == 200
    assert post(stage, "key", None, f"{other}:pause").status_code == 422
    assert post(stage, "key", None, f"{one}:cancel").status_code == 422


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_a_verb_that_fails_leaves_its_key_free(shared: Stage, verb: str) -> None:
    assert post(shared, "free", None, f"/v1/studies/{'0' * 13}:{verb}").status_code == 404
    assert shared.rows()["idempotency_key"] == 0


@pytest.mark.parametrize("key", [b"", b" ", b"a b", b"a\tb", b"x" * 256, "é".encode(), b"\x01", b"\x7f"])
@pytest.mark.parametrize("path", ["/v1/studies", "/v1/studies/0000000000000:pause"])
def test_keys_that_are_none(shared: Stage, key: bytes, path: str) -> None:
    reply = shared.client.post(path, json=RAW, headers={HEADER.encode(): key})
    assert faults(reply).keys() == {"header.Idempotency-Key"}


@pytest.mark.parametrize("key", ["x" * 255, "!", "~", "1d9b1bcb-6a9c-4b43-8e3f-5d4c7b0ad4c1", "'\"%\\"])
def test_keys_of_any_printable_characters(shared: Stage, key: str) -> None:
    assert post(shared, key).content == post(shared, key).content


def test_a_twin_that_does_not_end_is_409(postgres_url: str) -> None:
    with opened(postgres_url) as stage, stage.ledger.database.engine.begin() as first:
        idempotency.take(first, stage.ledger.project, "held", fingerprint="", now=utc_now())
        reply = post(stage, "held")
        assert reply.status_code == 409
        assert int(reply.headers["retry-after"]) in {1, 2}
        assert "same request again" in problem(reply)["detail"]
        first.rollback()
        assert post(stage, "held").status_code == 201
