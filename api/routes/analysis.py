"""What a study's finished trials say: importance of parameters, history, savings from pruning."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from api.deps import Given
from api.errors import documented
from api.schemas.analysis import (
    HistoryOut,
    ImportanceOut,
    SavingsOut,
    history_out,
    importance_out,
    savings_out,
)
from search.analysis.table import method as measure
from search.definition.hygiene import LONGEST_NAME
from search.studies import analysis

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


@router.get("/{study_id}/savings", responses=documented(304, 404))
def get_savings(given: Given, study_id: str) -> SavingsOut:
    """Reckon what pruning has saved: steps, and seconds of devices where they are known."""
    return savings_out(*given.database.read(lambda c: analysis.study_savings(c, given.project_id, study_id)))
