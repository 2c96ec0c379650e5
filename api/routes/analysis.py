"""What a study's finished trials say: importance of parameters, history, savings from pruning."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Response

from api.deps import Given
from api.errors import documented
from api.html import PICTURE_HEADERS
from api.schemas.analysis import (
    HistoryOut,
    ImportanceOut,
    SavingsOut,
    history_out,
    importance_out,
    savings_out,
)
from api.schemas.comparison import ComparisonOut, comparison_out, comparison_question, comparison_table
from search.analysis.table import method as measure
from search.definition.hygiene import LONGEST_NAME
from search.studies import analysis


class Form(StrEnum):
    """How a comparison is wanted."""

    JSON = "json"
    MARKDOWN = "md"
    SVG = "svg"
    PNG = "png"


MEDIA_TYPES = {
    Form.JSON: "application/json",
    Form.MARKDOWN: "text/markdown; charset=utf-8",
    Form.SVG: "image/svg+xml",
    Form.PNG: "image/png",
}
_COMPARISONS: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind.partition(";")[0]: {} for form, kind in MEDIA_TYPES.items() if form is not Form.JSON}},
    **documented(304, 404),
}
ComparedBy = Annotated[str, Query(max_length=LONGEST_NAME, description="A parameter with choices")]
Baseline = Annotated[
    str | None, Query(max_length=LONGEST_NAME, description="The choice that ratios are to; absent = the first one")
]

router = APIRouter(prefix="/studies", tags=["analysis"])

MetricName = Annotated[
    str | None, Query(max_length=LONGEST_NAME, description="A metric of the study; absent = the optimized one")
]
How = Annotated[
    Literal["ped_anova", "fanova"],
    Query(description="ped_anova: what sets the best tenth apart; fanova: what the values vary with"),
]
Points = Annotated[int, Query(ge=2, le=10_000, description="Thin out to so many; improvements are always kept")]


@router.get("/{study_id}/importance", responses=documented(304, 404, 409))
def get_importance(given: Given, study_id: str, method: How = "ped_anova", metric: MetricName = None) -> ImportanceOut:
    """Say how much each parameter matters; 409 until ten trials have completed."""
    seen = given.database.read(lambda c: analysis.evidence(c, given.project_id, study_id, metric=metric))
    # Outside the transaction: a second's work must not hold a connection.
    return importance_out(seen, measure(method)(seen.space, seen.observations, seed=seen.seed), method)


@router.get("/{study_id}/history", responses=documented(304, 404))
def get_history(given: Given, study_id: str, metric: MetricName = None, points: Points = 1000) -> HistoryOut:
    """Read the best so far over the finished trials, in the order of their ends."""
    return history_out(
        given.database.read(lambda c: analysis.history(c, given.project_id, study_id, metric=metric, points=points))
    )


@router.get("/{study_id}/comparison", response_model=ComparisonOut, responses=_COMPARISONS)
async def get_comparison(
    given: Given,
    study_id: str,
    by: ComparedBy = "optimizer",
    baseline: Baseline = None,
    format: Form = Form.JSON,  # noqa: A002  the name in the address
) -> Response:
    """Set the choices of one parameter side by side, each at its best configuration, as data, as a table or as a picture."""
    view = await to_thread.run_sync(
        lambda: given.database.read(
            lambda c: analysis.comparison(c, given.project_id, study_id, by=by, baseline=baseline)
        )
    )
    if format is Form.JSON:
        return Response(comparison_out(view).model_dump_json(), media_type=MEDIA_TYPES[format])
    if format is Form.MARKDOWN:
        return Response(comparison_table(view), media_type=MEDIA_TYPES[format])
    picture = await given.lab.ask(comparison_question(view, file_format=format.value))
    return Response(picture, media_type=MEDIA_TYPES[format], headers=PICTURE_HEADERS)


@router.get("/{study_id}/savings", responses=documented(304, 404))
def get_savings(given: Given, study_id: str) -> SavingsOut:
    """Reckon what pruning has saved: steps, and seconds of devices where they are known."""
    return savings_out(*given.database.read(lambda c: analysis.study_savings(c, given.project_id, study_id)))
