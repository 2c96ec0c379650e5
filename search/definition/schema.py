"""The parts of a study definition as frozen models, field by field; `search.definition.parse.parse_study` reads them.

A model by itself guarantees the shape of a part and that it does not contradict itself. What parts say about each other
is checked by `parse_study`, which is the only way a definition from outside becomes a `StudyDefinition`.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field

from optim.catalog import TRAINERS
from search.definition.bounds import MOST_TRIALS, Name
from search.definition.examples import EXAMPLE_STUDIES
from search.definition.kinds import AnyObjective, RecipeObjective
from search.definition.limits import Budget, Stopping, Timeouts
from search.definition.metrics import Metric
from search.definition.prunings import AnyPruning
from search.definition.searches import AnySearch
from search.definition.starts import OFF, AnyWarmStart, Fingerprint
from search.definition.verdicts import Verdict
from search.space.constraints import Constraint
from search.space.parameters import Parameter, Part

MOST_CONSTRAINTS = 16
# The union with the field that names the kind, for reading and for the JSON schema.
AnyParameter: TypeAlias = Annotated[Parameter, Field(discriminator="type")]


def _describe_preset(schema: dict[str, Any]) -> None:
    """Add to the schema of a space what it may hold as posted: a preset, and null for a parameter that is dropped."""
    parameter, name = schema["additionalProperties"], {"enum": list(TRAINERS)}
    preset = {
        "description": "For a recipe: optimizers whose recommended parameters join those given; see docs/optimizers.md",
        "anyOf": [name, {"type": "array", "items": name, "minItems": 1, "uniqueItems": True}, parameter],
        "examples": ["adamw", ["adamw", "sgd"]],
    }
    dropped = {"type": "null", "description": "Beside a preset: leave out what it recommends under this name"}
    schema["properties"] = {"preset": preset}
    schema["additionalProperties"] = {"anyOf": [parameter, dropped]}


class StudyDefinition(Part):
    """A study as posted, checked, with every default filled in. `budget.trials` is always set.

    `model_dump(mode="json")` of it is read back unchanged by `parse_study`.
    """

    model_config = ConfigDict(json_schema_extra={"examples": list(EXAMPLE_STUDIES.values())})

    name: Name = Field(description="Shown to people; need not be unique")
    objective: AnyObjective
    metrics: Annotated[tuple[Metric, ...], Field(strict=False, min_length=1, max_length=64)] = Field(
        description="At least one with the role optimize; see docs/metrics.md",
        examples=[[{"name": "val_loss", "goal": "minimize"}]],
    )
    space: dict[str, AnyParameter] = Field(
        min_length=1,
        max_length=64,
        description="What is searched, by name; a `preset` is stored as the parameters that it stands for",
        json_schema_extra=_describe_preset,
    )
    constraints: Annotated[tuple[Constraint, ...], Field(strict=False, max_length=MOST_CONSTRAINTS)] = Field(
        (),
        description="Sums of parameters that every trial keeps within limits; see docs/spaces.md",
        examples=[[{"terms": {"warmup": 1, "decay": 1}, "at_most": 1.0}]],
    )
    search: AnySearch
    pruning: AnyPruning | None = Field(None, description="Absent = none")
    budget: Budget = Field(Budget(), description="Trials are required unless the strategy is grid")
    stopping: Stopping | None = Field(None, description="When it has found enough; absent = the budget alone ends it")
    timeouts: Timeouts = Field(Timeouts(), description="How long workers wait for a trial before they end it")
    parallelism: int | None = Field(None, ge=1, le=MOST_TRIALS, description="Most trials at one time; absent = any")
    labels: dict[str, str] = Field({}, description="For finding studies again", examples=[{"team": "vision"}])
    report: Literal["last", "best"] = Field("last", description="Which measurement's values stand for a trial")
    execution: Literal["auto", "single", "population"] = Field(
        "auto",
        description="population: trials of one network are trained together, many at a time; single: each by itself; "
        "auto: population where the objective is a recipe, and single otherwise",
    )
    max_failed: int | None = Field(None, ge=0, le=MOST_TRIALS, description="More failed trials end the study as failed")

    start_from_default: bool | None = Field(
        None,
        description="Trial 0 is the default point; absent = true where a parameter has a `default`; not for a grid",
    )
    warm_start: AnyWarmStart = Field(
        OFF,
        description="Trials that come first: the best points of earlier studies, `auto` of those most like this one",
    )
    fingerprint: Fingerprint | None = Field(None, description="What is trained on what, in words of the client's own")
    reuse: bool = Field(
        False, description="Answer with a completed study of the same fingerprint and definition if there is one"
    )
    verdict: Verdict | None = Field(
        None, description="Whether the best configuration beats a baseline; absent = not asked"
    )

    @property
    def reserved(self) -> int:
        """How many trials of the budget are kept for the verdict."""
        return self.verdict.reserved if self.verdict is not None else 0

    @property
    def in_population(self) -> bool:
        """Whether many of its trials may be trained together by one trainer."""
        return self.execution != "single" and isinstance(self.objective, RecipeObjective) and self.objective.stacks

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """The metrics that are optimized; most studies have one."""
        return tuple(metric for metric in self.metrics if metric.role == "optimize")

    @property
    def thresholds(self) -> tuple[Metric, ...]:
        """The metrics that must keep a threshold."""
        return tuple(metric for metric in self.metrics if metric.role == "constraint")

    @property
    def several_objectives(self) -> bool:
        """Whether there is no single best trial, but a front."""
        return len(self.objectives) > 1

    @property
    def trials(self) -> int:
        """How many trials the budget has; `parse_study` has set it where the strategy knows."""
        if self.budget.trials is None:
            raise ValueError("the definition did not come from parse_study: its budget.trials is not set")
        return self.budget.trials
