"""How a study prunes: the rule with its settings."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from search.definition.bounds import MOST_TRIALS
from search.space.parameters import Part


class AshaPruning(Part):
    """Asynchronous successive halving: at steps min_steps * reduction^k the best 1 / reduction go on."""

    kind: Literal["asha"] = Field(description="asha or median")
    reduction: int = Field(3, ge=2, le=1000, description="Of this many at a rung, one goes on")
    min_steps: int = Field(1, ge=1, le=MOST_TRIALS, description="The step of the first rung")


class MedianPruning(Part):
    """Stop a trial whose value is worse than the median of all values at the same step."""

    kind: Literal["median"] = Field(description="asha or median")
    startup: int = Field(5, ge=1, le=MOST_TRIALS, description="Values at a step before anything is stopped there")
    warmup: int = Field(0, ge=0, le=MOST_TRIALS, description="Steps in which nothing is stopped")
    interval: int = Field(1, ge=1, le=MOST_TRIALS, description="Steps between decisions after the warm-up")


Pruning: TypeAlias = AshaPruning | MedianPruning
PRUNINGS: Mapping[str, type[AshaPruning | MedianPruning]] = {"asha": AshaPruning, "median": MedianPruning}
AnyPruning: TypeAlias = Annotated[Pruning, Field(discriminator="kind")]
