"""The OpenAPI document: what the framework knows of the routes, and what it cannot know."""

import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.models import Example
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from api.schemas.enqueueing import GivenTrialsIn
from api.schemas.importing import ImportIn
from api.schemas.problems import PROBLEM_SCHEMA
from api.schemas.remote import BODIES
from search.definition.schema import StudyDefinition
from search.studies.service import EDITABLE

GUARD = "/v1/"
_BODIES: tuple[type[BaseModel], ...] = (*BODIES, ImportIn, GivenTrialsIn)
_REF = "#/components/schemas/"
_JSON = "application/json"
_PLACE = re.compile(r"\{\w+\}")  # of an id in a path; no id holds a colon, which a verb follows
_SECURITY: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The server's TUNEUP_API_KEY. A server without one listens on loopback alone and asks nobody.",
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "For browsers: the same key as the password, with any user name.",
    },
}
_DESCRIPTION = """A study goes in, workers train its trials, and the best configuration comes out.

- Lists come in pages: `{"data": [...], "next": cursor or null}`; send `next` back as `cursor`.
- Every GET carries an `ETag`; sent back in `If-None-Match` it is answered 304 while nothing changed. HEAD works too.
- Every POST takes an `Idempotency-Key`: the same request with the same key is done once and gets the same reply.
- Errors are `application/problem+json`; `errors` lists each fault with the path of its field.
- A body is JSON in UTF-8 of at most 1 MiB.
"""


def json_body(schema: str, examples: Mapping[str, Example], *, required: bool = True) -> dict[str, Any]:
    """Describe a body that `api.bodies` reads, by the name of its schema, for `openapi_extra`."""
    content = {"schema": {"$ref": _REF + schema}, "examples": dict(examples)}
    return {"requestBody": {"required": required, "content": {_JSON: content}}}


class DocumentedApi(FastAPI):
    """An application whose document also has the bodies that the framework does not read, and how to authenticate."""

    def openapi(self) -> dict[str, Any]:
        """Return the document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = _document(self)
        return self.openapi_schema

    def methods(self, path: str) -> list[str]:
        """List the methods that the document has for this path, HEAD with GET."""
        found = {
            method.upper()
            for template, operations in self.openapi()["paths"].items()
            if re.fullmatch(_PLACE.sub("[^/:]+", template), path)
            for method in operations
        }
        return sorted(found | ({"HEAD"} if "GET" in found else set()))


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=_DESCRIPTION, routes=app.routes
    )
    components = made.setdefault("components", {})
    components["schemas"] = dict(sorted({**components.get("schemas", {}), **_schemas()}.items()))
    components["schemas"]["StudyOut"]["properties"]["definition"] = {"$ref": _REF + "StudyDefinition"}
    components["securitySchemes"] = _SECURITY
    for path, operations in made["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                _drop_null(parameter["schema"])
            if path.startswith(GUARD):
                operation["security"] = [{name: []} for name in _SECURITY]
    return made


def _drop_null(schema: dict[str, Any]) -> None:
    """Take null out of a parameter's schema: in an address or a header there is none, what is optional is left out."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema |= kinds[0]


def _schemas() -> dict[str, Any]:
    """The schemas of bodies: they are read by `search`, not by the framework."""
    whole = StudyDefinition.model_json_schema(ref_template=_REF + "{model}")
    parts = whole.pop("$defs")
    edits = {
        "title": "StudyEdits",
        "description": "What may be changed of a study. Of `budget` the fields given are changed; `labels` replaces all.",
        "type": "object",
        "properties": {name: whole["properties"][name] for name in EDITABLE},
        "additionalProperties": False,
    }
    for body in _BODIES:
        schema = body.model_json_schema(ref_template=_REF + "{model}")
        parts |= schema.pop("$defs", {}) | {body.__name__: schema}
    return {**parts, "StudyDefinition": whole, "StudyEdits": edits, "Problem": PROBLEM_SCHEMA}
