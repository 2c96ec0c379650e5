"""Bodies of clients that cannot be taken: each field is named, and nothing is changed."""

import json
from typing import Any

import pytest

from tests.api.clients import HEADER, VALUES, one
from tests.api.stage import Stage, faults

ANYTHING = "a" * 32
# The verb, the body, and for each path a part of what is said about it.
REFUSED: list[tuple[str, Any, dict[str, str]]] = [
    (":ask", [], {"": "object"}),
    (":ask", None, {"": "object"}),
    (":ask", {"count": 0}, {"count": "at least 1"}),
    (":ask", {"count": 1001}, {"count": "at most 1000"}),
    (":ask", {"count": 1.5}, {"count": "whole number"}),
    (":ask", {"count": True}, {"count": "whole number"}),
    (":ask", {"count": None}, {"count": "whole number"}),
    (":ask", {"client_id": ""}, {"client_id": "empty"}),
    (":ask", {"client_id": "x" * 129}, {"client_id": "128"}),
    (":ask", {"client_id": "a\0"}, {"client_id": "control"}),
    (":ask", {"client_id": 5}, {"client_id": "string"}),
    (":ask", {"lease_seconds": 0.5}, {"lease_seconds": "at least 1"}),
    (":ask", {"lease_seconds": 86_401}, {"lease_seconds": "at most 86400"}),
    (":ask", {"lease_seconds": float("inf")}, {"lease_seconds": "finite"}),
    (":ask", {"number": 1}, {"number": "valid are client_id, count, lease_seconds"}),
    (":tell", {}, {"token": "required"}),
    (":tell", {"token": ""}, {"token": "empty"}),
    (":tell", {"token": 5}, {"token": "string"}),
    (":tell", {"token": ANYTHING, "values": {"val_loss": float("nan")}}, {"values.val_loss": "finite"}),
    (":tell", {"token": ANYTHING, "values": {"val_loss": float("inf")}}, {"values.val_loss": "finite"}),
    (":tell", {"token": ANYTHING, "values": {"val_loss": float("-inf")}}, {"values.val_loss": "finite"}),
    (":tell", {"token": ANYTHING, "values": {"val_loss": 10**400}}, {"values.val_loss": "2^53"}),
    (":tell", {"token": ANYTHING, "values": {"val_loss": "0.5"}}, {"values.val_loss": "number"}),
    (":tell", {"token": ANYTHING, "values": {"val_loss": True}}, {"values.val_loss": "number"}),
    (":tell", {"token": ANYTHING, "values": {"val_loss": None}}, {"values.val_loss": "number"}),
    (":tell", {"token": ANYTHING, "values": {}}, {"values": "empty"}),
    (":tell", {"token": ANYTHING, "values": {f"m{place}": 0 for place in range(65)}}, {"values": "64"}),
    (":tell", {"token": ANYTHING, "values": {"x" * 129: 0}}, {"values." + "x" * 128 + "...": "128"}),
    (":tell", {"token": ANYTHING, "values": [0.5]}, {"values": "object"}),
    (":tell", {"token": ANYTHING, "state": "pruned"}, {"state": "valid are completed, diverged, failed"}),
    (":tell", {"token": ANYTHING, "state": None}, {"state": "valid are"}),
    (":tell", {"token": ANYTHING, "reason": "x" * 65_537}, {"reason": "65536"}),
    (":tell", {"token": ANYTHING, "reason": 5}, {"reason": "string"}),
    (":tell", {"token": ANYTHING, "value": 5}, {"value": "valid are token, state, values, reason"}),
    (":release", {"token": ANYTHING, "reason": ""}, {"reason": "empty"}),
    (":release", {"token": ANYTHING, "reason": "a\nb"}, {"reason": "control"}),
    (":release", {}, {"token": "required"}),
    ("/measurements", {"measurements": []}, {"token": "required"}),
    (
        "/measurements",
        {"token": ANYTHING, "measurements": [{"step": step, "values": VALUES} for step in (1, 2, 1)]},
        {"measurements[2].step": "that of measurements[0]"},
    ),
    ("/measurements", {"token": ANYTHING, "measurements": {}}, {"measurements": "list"}),
    ("/measurements", {"token": ANYTHING, "measurements": None}, {"measurements": "list"}),
    (
        "/measurements",
        {"token": ANYTHING, "measurements": [{"step": 1, "values": VALUES}] * 1001},
        {"measurements": "at most 1000"},
    ),
    (
        "/measurements",
        {
            "token": ANYTHING,
            "measurements": [
                {"step": -1, "values": VALUES},
                {"step": 2**53 + 1, "values": VALUES},
                {"step": 1.0, "values": VALUES},
                {"step": 1, "values": {}},
                {"step": 1, "values": {"a": float("nan"), "b": 1}},
                {"step": 1, "values": VALUES, "loss": 2},
                {"step": True, "values": VALUES},
                5,
                {},
            ],
        },
        {
            "measurements[0].step": "at least 0",
            "measurements[1].step": "2^53",
            "measurements[2].step": "whole number",
            "measurements[3].values": "empty",
            "measurements[4].values.a": "finite",
            "measurements[5].loss": "valid are step, values",
            "measurements[6].step": "whole number",
            "measurements[7]": "object",
            "measurements[8].step": "required",
            "measurements[8].values": "required",
        },
    ),
]


@pytest.mark.parametrize(("verb", "body", "expected"), REFUSED, ids=[f"{verb} {b!s:.60}" for verb, b, _ in REFUSED])
def test_bad_bodies_name_their_fields_and_change_nothing(
    shared: Stage, verb: str, body: Any, expected: dict[str, str]
) -> None:
    trial = one(shared)
    before = shared.ledger.dump()
    path = f"/studies/{trial['study_id']}/trials:ask" if verb == ":ask" else f"/trials/{trial['id']}{verb}"
    reply = shared.client.post(
        f"/v1{path}",
        content=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", HEADER: "bad"},
    )
    found = faults(reply)
    assert found.keys() == expected.keys()
    assert [path for path, part in expected.items() if part not in found[path]] == []
    assert shared.ledger.dump() == before


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "-Infinity"])
def test_numbers_beyond_all_numbers_are_never_stored(stage: Stage, number: str) -> None:
    trial = one(stage)
    before = stage.ledger.dump()
    for path, body, field in (
        (":tell", '{"token": "%s", "values": {"val_loss": %s}}', "values.val_loss"),
        (
            "/measurements",
            '{"token": "%s", "measurements": [{"step": 1, "values": {"val_loss": %s}}]}',
            "measurements[0].values.val_loss",
        ),
    ):
        reply = stage.client.post(
            f"/v1/trials/{trial['id']}{path}",
            content=body % (trial["token"], number),
            headers={"Content-Type": "application/json"},
        )
        assert faults(reply).keys() == {field}
    assert stage.ledger.dump() == before
