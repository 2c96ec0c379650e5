"""Bodies shown in the OpenAPI document; a test posts each of them."""

from fastapi.openapi.models import Example

from search.examples import EXAMPLE_STUDIES

STUDIES = {name: Example(summary=name, value=study) for name, study in EXAMPLE_STUDIES.items()}
EDITS = {
    "more trials": Example(summary="Raise the budget", value={"budget": {"trials": 200}}),
    "another name": Example(summary="Rename and label", value={"name": "digits-mlp-2", "labels": {"team": "vision"}}),
}
