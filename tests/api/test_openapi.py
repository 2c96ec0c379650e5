"""The OpenAPI document: valid, complete, and its examples are bodies that the service takes."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import schemathesis

from api.bodies import MOST_BYTES
from api.examples import ASKS, EDITS, IMPORTS, MEASUREMENTS, RELEASES, STUDIES, TELLS
from api.openapi import GUARD
from search.definition.examples import EXAMPLE_STUDIES, FURTHER_STUDIES
from tests.api.stage import DOCUMENT, PROBLEM, Stage, study

OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for item in part:
            yield from references(item)


def body_of(name: str) -> dict[str, Any]:
    body: dict[str, Any] = OPERATIONS[name][2]["requestBody"]["content"]["application/json"]
    return body


def test_the_document_is_valid() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    with pytest.raises(ValueError, match="not of type"):
        schemathesis.openapi.from_dict({**DOCUMENT, "paths": {"/x": {"get": {"responses": 1}}}}).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    missing = {ref for ref in references(DOCUMENT) if ref.removeprefix("#/components/schemas/") not in schemas}
    assert missing == set()
    unused = {f"#/components/schemas/{name}" for name in schemas} - set(references(DOCUMENT))
    assert unused == set()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_described(name: str) -> None:
    method, path, operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    guarded = path.startswith(GUARD)
    assert operation.get("security", []) == ([{"bearer": []}, {"basic": []}] if guarded else [])
    answers = operation["responses"]
    assert {"401", "422", "503"} <= answers.keys() or not guarded
    assert ("304" in answers) is (method == "get")
    assert ("404" in answers) is ("{" in path)
    assert {"400", "413", "415"} <= answers.keys() or "requestBody" not in operation
    for status, answer in answers.items():
        assert answer["description"]
        if int(status) >= 400:
            assert answer["content"] == {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    if method == "post":
        assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}


def test_ways_to_authenticate() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert {name: (scheme["type"], scheme["scheme"]) for name, scheme in schemes.items()} == {
        "bearer": ("http", "bearer"),
        "basic": ("http", "basic"),
    }


def test_examples_are_shown() -> None:
    assert {name: shown["value"] for name, shown in body_of("create_study")["examples"].items()} == {
        **EXAMPLE_STUDIES,
        "small-and-accurate": FURTHER_STUDIES["small-and-accurate"],
    }
    assert len(body_of("patch_study")["examples"]) >= 2


@pytest.mark.parametrize("name", STUDIES)
def test_examples_of_studies_are_taken(shared: Stage, name: str) -> None:
    jsonschema.validate(STUDIES[name]["value"], whole("StudyDefinition"))
    made = shared.create(STUDIES[name]["value"])
    jsonschema.validate(made, whole("StudyOut"))


@pytest.mark.parametrize("name", EDITS)
def test_examples_of_edits_are_taken(shared: Stage, name: str) -> None:
    jsonschema.validate(EDITS[name]["value"], whole("StudyEdits"))
    made = shared.create(study("digits-mlp"))
    assert shared.client.patch(f"/v1/studies/{made['id']}", json=EDITS[name]["value"]).status_code == 200


@pytest.mark.parametrize("name", IMPORTS)
def test_examples_of_imports_are_taken(shared: Stage, name: str) -> None:
    body: dict[str, Any] = IMPORTS[name]["value"] or {}
    jsonschema.validate(body, whole("ImportIn"))
    reply = shared.client.post("/v1/studies:import", json=body)
    assert reply.status_code == (201 if body.get("create") else 200)
    jsonschema.validate(reply.json(), whole("ImportOut"))


@pytest.mark.parametrize("name", ASKS)
def test_examples_of_asks_are_taken(shared: Stage, name: str) -> None:
    body: dict[str, Any] = ASKS[name]["value"] or {}
    jsonschema.validate(body, whole("AskIn"))
    reply = shared.client.post(f"/v1/studies/{shared.create(study('wine-random'))['id']}/trials:ask", json=body)
    assert len(reply.json()["data"]) == body.get("count", 1)
    jsonschema.validate(reply.json(), whole("AskOut"))


@pytest.mark.parametrize(
    ("schema", "verb", "body"),
    [
        pytest.param(schema, verb, example["value"], id=f"{schema}: {name}")
        for schema, verb, examples in (
            ("TellIn", ":tell", TELLS),
            ("MeasurementsIn", "/measurements", MEASUREMENTS),
            ("ReleaseIn", ":release", RELEASES),
        )
        for name, example in examples.items()
    ],
)
def test_examples_of_what_clients_say_are_taken(shared: Stage, schema: str, verb: str, body: dict[str, Any]) -> None:
    jsonschema.validate(body, whole(schema))
    made = shared.create(study("wine-random"))["id"]
    (trial,) = shared.client.post(f"/v1/studies/{made}/trials:ask").json()["data"]
    token = {"token": trial["token"]}
    points = {"measurements": [{"step": 1, "values": {"val_loss": 0.5}}]}
    shared.client.post(f"/v1/trials/{trial['id']}/measurements", json=token | points)
    assert shared.client.post(f"/v1/trials/{trial['id']}{verb}", json=body | token).status_code == 200


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        ("AskIn", {"count": 0}),
        ("AskIn", {"x": 1}),
        ("AskIn", {"lease_seconds": 0}),
        ("TellIn", {}),
        ("TellIn", {"token": "a", "state": "pruned"}),
        ("TellIn", {"token": "a", "values": {}}),
        ("MeasurementsIn", {"token": "a", "measurements": [{"step": -1, "values": {"a": 1}}]}),
        ("ReleaseIn", {"token": ""}),
        ("ImportIn", {"format": "hyperopt", "source": {}}),
        ("ImportIn", {"format": "optuna", "source": 1}),
    ],
)
def test_the_schemas_of_clients_bodies_say_no(schema: str, body: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, whole(schema))


def whole(name: str) -> dict[str, Any]:
    """Return the schema of that name as one that stands alone."""
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


@pytest.mark.parametrize(
    "body",
    [
        study(zzz=1),
        study(search={"strategy": "x"}),
        study(name="n" * 129),
        study(space={}),
        study(objective__epochs=0),
        study(space__lr={"type": "float", "low": "a", "high": 1}),
    ],
)
def test_the_schema_says_no_where_the_service_does(shared: Stage, body: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, whole("StudyDefinition"))
    assert shared.client.post("/v1/studies", json=body).status_code == 422


def test_the_document_is_served(shared: Stage) -> None:
    reply = shared.client.get("/v1/openapi.json")
    assert reply.json() == json.loads(json.dumps(DOCUMENT))
    assert len(reply.content) < MOST_BYTES / 4
