"""The parts of a study definition as frozen models, field by field; `search.definition.parse.parse_study` reads them.

A model by itself guarantees the shape of a part and that it does not contradict itself. What parts say about each other
is checked by `parse_study`, which is the only way a definition from outside becomes a `StudyDefinition`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from optim.catalog import OPTIMIZERS
from search.definition.examples import EXAMPLE_STUDIES
from search.definition.hygiene import LONGEST_NAME
from search.definition.networks import AnyNetwork, RegisteredNetwork
from search.space.parameters import (
    CategoricalParameter,
    Fixed,
    FloatParameter,
    IntParameter,
    Part,
    Scalar,
    Setting,
    absent,
)

MOST_TRIALS = 1_000_000
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=r"\S")]


# Fields of an objective that a space may search instead.
FIXABLE = ("optimizer", "schedule", "lr", "warmup", "batch_size")


EXTERNAL = "external"


class Runnable(Part):
    """What every kind of objective answers; as it stands, for one that no worker runs."""

    @property
    def queue(self) -> str:
        """The queue its trials wait in."""
        return EXTERNAL

    @property
    def last_step(self) -> int | None:
        """The step with which a trial has finished; None where it is not known."""
        return None

    @property
    def registered(self) -> str | None:
        """The name that a worker must have registered to run it; None where every worker of the queue can."""
        return None


class RecipeObjective(Runnable):
    """Train a network. Further fields fix options of the optimizer or schedule, such as `momentum`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Fixed] = Field(init=False)

    recipe: Literal["classifier", "regressor"] = Field(description="The recipe; GET /v1/objectives lists them")
    data: str = Field(
        description="A data set that GET /v1/objectives lists, or the name of a file in the workers' data folder",
        examples=["digits"],
    )
    network: AnyNetwork
    epochs: int = Field(ge=1, le=10_000, description="Passes over the data; metrics are reported after each")
    device: Literal["cpu", "gpu"] = Field("cpu", description="The queue its trials wait in")
    optimizer: str | None = Field(None, exclude_if=absent, description="Fixed, unless the space searches it")
    schedule: str | None = Field(None, exclude_if=absent, description="Fixed, unless the space searches it")
    lr: float | None = Field(None, exclude_if=absent, description="Learning rate, unless the space searches it")
    warmup: float | None = Field(None, exclude_if=absent, description="Fraction of all steps, in [0, 1)")
    batch_size: int | None = Field(None, exclude_if=absent, description="Examples in one step")
    precision: Literal["float32", "tf32", "bfloat16"] | None = Field(
        None, exclude_if=absent, description="In which the network is applied; absent = float32"
    )

    @property
    def fixed(self) -> dict[str, Setting]:
        """What the objective fixes that a space could search: name -> value."""
        given = {name: getattr(self, name) for name in FIXABLE}
        return {name: value for name, value in given.items() if value is not None} | (self.__pydantic_extra__ or {})

    @property
    def queue(self) -> str:
        return self.device

    @property
    def last_step(self) -> int | None:
        return self.epochs

    @property
    def registered(self) -> str | None:
        return self.network.announced if isinstance(self.network, RegisteredNetwork) else None


class RegisteredObjective(Runnable):
    """Run a command that workers have registered under this name. What it reports and what the space names is free."""

    name: Name = Field(description="As in the workers' tuneup.toml; GET /v1/objectives lists the known ones")
    device: Literal["cpu", "gpu"] = Field("cpu", description="The queue its trials wait in")
    steps: int | None = Field(
        None, ge=1, le=MOST_TRIALS, description="The last step it reports, at which nothing is pruned any more"
    )
    options: dict[str, Scalar] = Field({}, description="Handed to the command as they are", examples=[{"depth": 3}])

    @property
    def queue(self) -> str:
        return self.device

    @property
    def last_step(self) -> int | None:
        return self.steps

    @property
    def registered(self) -> str | None:
        return self.name


class ExternalObjective(Runnable):
    """Run by the clients themselves, who ask for trials and tell their results over HTTP; no worker takes one."""

    external: Literal[True] = Field(description="true")
    steps: int | None = Field(
        None, ge=1, le=MOST_TRIALS, description="The last step clients report, at which nothing is pruned any more"
    )

    @property
    def last_step(self) -> int | None:
        return self.steps


Objective: TypeAlias = RecipeObjective | RegisteredObjective | ExternalObjective
# By the field that tells the kinds apart: an objective has exactly one of them.
OBJECTIVES: Mapping[str, type[RecipeObjective | RegisteredObjective | ExternalObjective]] = {
    "recipe": RecipeObjective,
    "name": RegisteredObjective,
    "external": ExternalObjective,
}
NO_KIND = "objective_kind"


def objective_kind(given: object) -> str | None:
    """Return which of OBJECTIVES this is, read or still to be read; None for none or several."""
    if isinstance(given, BaseModel):
        return next((kind for kind, model in OBJECTIVES.items() if isinstance(given, model)), None)
    present = [kind for kind in OBJECTIVES if isinstance(given, Mapping) and kind in given]
    return present[0] if len(present) == 1 else None


AnyObjective: TypeAlias = Annotated[
    Annotated[RecipeObjective, Tag("recipe")]
    | Annotated[RegisteredObjective, Tag("name")]
    | Annotated[ExternalObjective, Tag("external")],
    Discriminator(
        objective_kind,
        custom_error_type=NO_KIND,
        custom_error_message=f"must have exactly one of {', '.join(OBJECTIVES)}",
    ),
]


class Metric(Part):
    """A number that trials report. One has the role `optimize`; the others are stored."""

    name: Name
    goal: Literal["minimize", "maximize"]
    role: Literal["optimize", "store"] = "optimize"


class GridSearch(Part):
    """Every point of the grid once, in an order shuffled by the seed."""

    strategy: Literal["grid"] = Field(description="grid, random or bayesian")
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")


class RandomSearch(Part):
    """Independent points; each depends on the seed and its draw number alone."""

    strategy: Literal["random"] = Field(description="grid, random or bayesian")
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")


class BayesianSearch(Part):
    """Points suggested by a model of the results so far (a tree-structured Parzen estimator)."""

    strategy: Literal["bayesian"] = Field(description="grid, random or bayesian")
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")
    startup: int = Field(10, ge=0, le=MOST_TRIALS, description="How many trials are random before the model suggests")


Search: TypeAlias = GridSearch | RandomSearch | BayesianSearch
STRATEGIES: Mapping[str, type[GridSearch | RandomSearch | BayesianSearch]] = {
    "grid": GridSearch,
    "random": RandomSearch,
    "bayesian": BayesianSearch,
}


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


class Budget(Part):
    """What a study may spend. A grid needs no `trials`: it takes its size, and never more."""

    trials: int | None = Field(None, ge=1, le=MOST_TRIALS, description="Trials, however they end")
    seconds: float | None = Field(None, gt=0, le=1e9, description="From the first claim, not counting pauses")


class Timeouts(Part):
    """When an attempt is given up, in seconds; null = never. Clients' own trials have leases instead."""

    progress: float | None = Field(
        1800.0, gt=0, le=1e9, description="Without a measurement or another sign of progress"
    )
    total: float | None = Field(None, gt=0, le=1e9, description="From the attempt's start")


# The same unions with the field that names the kind, for reading and for the JSON schema.
AnyParameter: TypeAlias = Annotated[FloatParameter | IntParameter | CategoricalParameter, Field(discriminator="type")]
AnySearch: TypeAlias = Annotated[GridSearch | RandomSearch | BayesianSearch, Field(discriminator="strategy")]
AnyPruning: TypeAlias = Annotated[AshaPruning | MedianPruning, Field(discriminator="kind")]


def _describe_preset(schema: dict[str, Any]) -> None:
    """Add to the schema of a space what it may hold as posted: a preset, and null for a parameter that is dropped."""
    parameter, name = schema["additionalProperties"], {"enum": list(OPTIMIZERS)}
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
        description="Exactly one with role optimize", examples=[[{"name": "val_loss", "goal": "minimize"}]]
    )
    space: dict[str, AnyParameter] = Field(
        min_length=1,
        max_length=64,
        description="What is searched, by name; a `preset` is stored as the parameters that it stands for",
        json_schema_extra=_describe_preset,
    )
    search: AnySearch
    pruning: AnyPruning | None = Field(None, description="Absent = none")
    budget: Budget = Field(Budget(), description="Trials are required unless the strategy is grid")
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

    @property
    def in_population(self) -> bool:
        """Whether many of its trials may be trained together by one trainer."""
        return self.execution != "single" and isinstance(self.objective, RecipeObjective)

    @property
    def objective_metric(self) -> Metric:
        """The metric that is optimized."""
        return next(metric for metric in self.metrics if metric.role == "optimize")

    @property
    def trials(self) -> int:
        """How many trials the budget has; `parse_study` has set it where the strategy knows."""
        if self.budget.trials is None:
            raise ValueError("the definition did not come from parse_study: its budget.trials is not set")
        return self.budget.trials
