"""How a study prunes: the rule with its settings. docs/pruning.md says what each rule is for."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from search.definition.bounds import MOST_TRIALS, Name
from search.space.parameters import Complaint, Part

_KINDS = "asha, hyperband, median, percentile, patience or threshold"
_Steps: TypeAlias = Annotated[int, Field(ge=1, le=MOST_TRIALS)]
_Warmup: TypeAlias = Annotated[int, Field(ge=0, le=MOST_TRIALS, description="Steps in which nothing is stopped")]
_Interval: TypeAlias = Annotated[
    int, Field(ge=1, le=MOST_TRIALS, description="Steps between decisions after the warm-up")
]
_Startup: TypeAlias = Annotated[
    int, Field(ge=1, le=MOST_TRIALS, description="Values at a step before anything is stopped there")
]
_Reduction: TypeAlias = Annotated[int, Field(ge=2, le=1000, description="Of this many at a rung, one goes on")]


class AshaPruning(Part):
    """Asynchronous successive halving: at steps min_steps * reduction^k the best 1 / reduction go on."""

    kind: Literal["asha"] = Field(description=_KINDS)
    reduction: _Reduction = 3
    min_steps: _Steps = Field(1, description="The step of the first rung")
    mode: Literal["stop", "promote"] = Field(
        "stop",
        description="stop: who is behind at its arrival is pruned; promote: it waits there, and goes on from its "
        "checkpoint once enough others are behind it",
    )


class HyperbandPruning(Part):
    """Brackets of asha that begin at different steps: bracket b has its first rung at min_steps * reduction^b."""

    kind: Literal["hyperband"] = Field(description=_KINDS)
    reduction: _Reduction = 3
    min_steps: _Steps = Field(1, description="The first rung of the first bracket")
    max_steps: _Steps | None = Field(None, description="The steps of a whole trial; absent = the objective's last step")

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        """Compare the two ends."""
        low, high = fields.get("min_steps"), fields.get("max_steps")
        if low is not None and high is not None and high < low:
            yield "max_steps", f"must be at least min_steps {low}, got {high}"


class MedianPruning(Part):
    """Stop a trial whose value is worse than the median of all values at the same step."""

    kind: Literal["median"] = Field(description=_KINDS)
    startup: _Startup = 5
    warmup: _Warmup = 0
    interval: _Interval = 1


class PercentilePruning(Part):
    """Stop a trial whose value is not among the best `percentile` of 100 at the same step."""

    kind: Literal["percentile"] = Field(description=_KINDS)
    percentile: float = Field(gt=0, lt=100, description="Of a hundred values at a step so many go on; 50 is the median")
    startup: _Startup = 5
    warmup: _Warmup = 0
    interval: _Interval = 1


class ThresholdPruning(Part):
    """Stop a trial as soon as a metric leaves its bounds."""

    kind: Literal["threshold"] = Field(description=_KINDS)
    metric: Name | None = Field(None, description="Of the study's metrics; absent = the only optimized one")
    lower: float | None = Field(None, description="Below this a trial stops")
    upper: float | None = Field(None, description="Above this a trial stops")
    warmup: _Warmup = 0
    interval: _Interval = 1

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        """Compare the bounds; one at least is needed."""
        lower, upper = fields.get("lower"), fields.get("upper")
        if lower is None and upper is None:
            yield "lower", "is required, unless upper is given: without a bound nothing would ever be stopped"
        elif lower is not None and upper is not None and upper < lower:
            yield "upper", f"must be at least lower {lower:g}, got {upper:g}"


# Rules that compare a trial with others at the same step: a rule of patience may have one of them decide.
Comparing: TypeAlias = AshaPruning | HyperbandPruning | MedianPruning | PercentilePruning
COMPARING: Mapping[str, type[Comparing]] = {
    "asha": AshaPruning,
    "hyperband": HyperbandPruning,
    "median": MedianPruning,
    "percentile": PercentilePruning,
}


class PatiencePruning(Part):
    """Stop a trial whose own value has not improved in its last `patience` measurements."""

    kind: Literal["patience"] = Field(description=_KINDS)
    patience: int = Field(ge=1, le=MOST_TRIALS, description="Measurements without an improvement")
    min_delta: float = Field(0.0, ge=0, description="Less than this, or just this, is no improvement")
    rule: Annotated[Comparing, Field(discriminator="kind")] | None = Field(
        None, description="Another rule that must agree: it stops nothing that still improves"
    )

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        """Nothing waits while it improves: patience is for rules that stop."""
        rule = fields.get("rule")
        if isinstance(rule, AshaPruning) and rule.mode == "promote":
            yield "rule.mode", "must be stop within a rule of patience"


Pruning: TypeAlias = Comparing | PatiencePruning | ThresholdPruning
PRUNINGS: Mapping[str, type[Pruning]] = {
    **COMPARING,
    "patience": PatiencePruning,
    "threshold": ThresholdPruning,
}
AnyPruning: TypeAlias = Annotated[Pruning, Field(discriminator="kind")]


def comparing(pruning: Pruning) -> Comparing | None:
    """Return the rule that compares trials: the one within a rule of patience, or the rule itself; None if none does."""
    if isinstance(pruning, ThresholdPruning):
        return None
    return pruning.rule if isinstance(pruning, PatiencePruning) else pruning


def has_curves(pruning: Pruning | None) -> bool:
    """Say whether scores at rungs are those that the study optimizes; a threshold may look at anything."""
    return pruning is not None and comparing(pruning) is not None


def promotes(pruning: Pruning | None) -> bool:
    """Say whether trials wait at rungs until they are promoted."""
    return isinstance(pruning, AshaPruning) and pruning.mode == "promote"
