"""How the front of a study looks."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.schemas.trials import TrialOut, trial_out
from search.studies.fronts import Front


class ObjectiveOut(BaseModel):
    """A metric that is optimized."""

    name: str
    goal: Literal["minimize", "maximize"]


class VolumeOut(BaseModel):
    """The volume that this trial and all of lower numbers dominate."""

    number: int
    hypervolume: float


class ParetoOut(BaseModel):
    """The best trade-offs among the completed trials that keep the constraints."""

    data: Annotated[list[TrialOut], Field(description="Best in the first objective first")]
    objectives: list[ObjectiveOut]
    hypervolume: Annotated[
        float | None,
        Field(
            description="Dominated by them up to `reference`, exactly; null without a trial, where it is no finite number, "
            "and with more than three objectives and more than 64 trials on the front"
        ),
    ]
    reference: Annotated[
        dict[str, float], Field(description="The one given, else the worst values of these trials; empty without one")
    ]
    history: Annotated[list[VolumeOut], Field(description="At 50 trials or fewer, the last one included")]


def pareto_out(front: Front) -> ParetoOut:
    """Show a front."""
    return ParetoOut(
        data=[trial_out(trial) for trial in front.trials],
        objectives=[ObjectiveOut(name=metric.name, goal=metric.goal) for metric in front.definition.objectives],
        hypervolume=front.found.hypervolume,
        reference=dict(front.found.reference),
        history=[VolumeOut(number=number, hypervolume=volume) for number, volume in front.found.history],
    )
