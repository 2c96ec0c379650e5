"""The front of a study: the best trade-offs between its objectives."""

import math
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import Given
from api.errors import documented
from api.schemas.fronts import ParetoOut, pareto_out
from search.errors import Fault, InvalidValue
from search.studies import fronts

router = APIRouter(prefix="/studies", tags=["studies"])

Reference = Annotated[
    list[str],
    Query(max_length=64, description="As `metric=value`, one for each objective; absent = the worst values seen"),
]


@router.get("/{study_id}/pareto", responses=documented(304, 404))
def get_pareto(
    given: Given,
    study_id: str,
    reference: Reference = [],  # noqa: B006  FastAPI copies it
) -> ParetoOut:
    """Read the trials that no other beats in every objective, and the hypervolume they dominate.

    Only completed trials count that keep the constraints. With one objective it is the best trial alone.
    """
    point = _points(reference)
    return given.database.read(lambda c: pareto_out(fronts.front(c, given.project_id, study_id, point)))


def _points(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Read `metric=value`; a metric's name may have an equals sign itself."""
    read = [(name, _number(value)) for name, _, value in (text.rpartition("=") for text in texts)]
    faults = [
        Fault("query.reference", f"must be `metric=value` with a finite number, got {ascii(text)[:80]}")
        for text, (name, value) in zip(texts, read, strict=True)
        if not name or value is None
    ]
    if faults:
        raise InvalidValue(faults)
    return [(name, value) for name, value in read if value is not None]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
