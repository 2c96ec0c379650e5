"""The verdict that a study ends with: whether its best configuration beats a baseline, by runs on fresh seeds."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from search.errors import Fault
from search.space.parameters import Part, Point
from search.space.plan import Plan
from search.space.validation import check_point

# The roles in which configurations are run again.
FINALIST, BASELINE = "finalist", "baseline"
DEFAULT: Literal["default"] = "default"
# Why a study ends that could run nothing again.
NOTHING_TO_COMPARE = "nothing but the baseline has completed and kept the constraints"
_BASELINE = 'must be "default" or an object {"params": {name: value}}'


def _baseline(value: object) -> Any:  # noqa: ANN401  "default", or an object with params
    if value == DEFAULT:
        return value
    if isinstance(value, Mapping) and value.keys() == {"params"} and isinstance(value["params"], Mapping):
        return {"params": dict(value["params"])}
    raise PydanticCustomError("baseline", _BASELINE)


Baseline: TypeAlias = Annotated[
    Literal["default"] | dict[str, Any],
    PlainValidator(_baseline),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": DEFAULT},
                {
                    "type": "object",
                    "properties": {"params": {"type": "object"}},
                    "required": ["params"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class Verdict(Part):
    """Once the search is over its best configurations and the baseline are run again, and compared.

    These runs are part of `budget.trials`: (finalists + 1) * replicates of it are kept for them.
    """

    replicates: int = Field(5, ge=3, le=100, description="Runs of each finalist and of the baseline, on fresh seeds")
    finalists: int = Field(1, ge=1, le=10, description="How many of the best configurations are run again")
    baseline: Baseline = Field(DEFAULT, description="What to beat: the default point, or the one given by `params`")
    confidence: float = Field(
        0.95, ge=0.5, le=0.999, description="Of each bound of the interval; improved is wrong in 1 - this at most"
    )

    @property
    def reserved(self) -> int:
        """How many trials of the budget it takes."""
        return (self.finalists + 1) * self.replicates

    @property
    def baseline_params(self) -> Point | None:
        """The point of the baseline; None for the default point."""
        return None if isinstance(self.baseline, str) else self.baseline["params"]


def verdict_faults(
    verdict: Verdict, the_plan: Plan | None, trials: int | None, optimized: int | None = 1
) -> list[Fault]:
    """Check a verdict against the budget and the space as it is planned; None is what could not be read or is not there.

    `optimized` is how many metrics are.
    """
    faults = []
    if optimized is not None and optimized > 1:
        message = "compares by one metric, and several are optimized: leave it out, or give all but one another role"
        faults.append(Fault("verdict", message))
    if trials is not None and trials <= verdict.reserved:
        message = (
            f"({verdict.finalists} finalists + 1 baseline) x {verdict.replicates} runs take {verdict.reserved} trials, "
            f"and budget.trials has {trials}: give it more than that, or fewer replicates or finalists"
        )
        faults.append(Fault("verdict.replicates", message))
    params = verdict.baseline_params
    if params is not None and the_plan is not None:
        _, found = check_point(the_plan, params)
        faults += [Fault(f"verdict.baseline.params.{fault.path}", fault.message) for fault in found]
    return faults
