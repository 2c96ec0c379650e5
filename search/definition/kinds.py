"""The kinds of objectives: what a trial runs."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from search.definition.bounds import MOST_TRIALS, Name
from search.definition.networks import AnyNetwork, RegisteredNetwork
from search.definition.objectives import RECIPES
from search.definition.options import is_option
from search.definition.uses import AnyUse
from search.space.parameters import Fixed, Part, Scalar, Setting, Value, absent

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

    def handed(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """Return of a trial's parameters what it is run with: all of them."""
        return dict(params)


class Target(Part):
    """A value of a metric of the recipe that a run is to reach."""

    metric: Name
    value: float
    goal: Literal["minimize", "maximize"] = Field("maximize", description="From which side it is reached")


class Measurement(Part):
    """Have it measured what each run costs and comes to, alone, for comparing methods."""

    test: float = Field(
        0.2, gt=0, lt=1, description="Share of the training examples held out; tested at the best epoch"
    )
    target: Target | None = Field(None, exclude_if=absent, description="Steps and seconds to it are reported")


class RecipeObjective(Runnable):
    """Train a network. Further fields fix options of the optimizer or schedule, such as `momentum`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Fixed] = Field(init=False)

    recipe: Literal["classifier", "regressor", "wide-two-layer"] = Field(
        description="The recipe; GET /v1/objectives lists them"
    )
    data: str = Field(
        description="A data set that GET /v1/objectives lists, or the name of a file in the workers' data folder",
        examples=["digits"],
    )
    network: AnyNetwork | None = Field(
        None, exclude_if=absent, description="What is trained; wide-two-layer is its own, and has options instead"
    )
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
    measured: Measurement | None = Field(
        None, exclude_if=absent, description="Absent = trained with others, unmeasured"
    )
    curvature: Annotated[tuple[AnyUse, ...], Field(strict=False, min_length=1)] | None = Field(
        None,
        exclude_if=absent,
        description="What is made of the curvature where training ends, reported with the last step; see docs/curvature.md",
        examples=[["laplace", {"name": "saliency", "sparsity": 0.9}]],
    )

    @property
    def fixed(self) -> dict[str, Setting]:
        """What the objective fixes that a space could search: name -> value."""
        given = {name: getattr(self, name) for name in FIXABLE}
        return {name: value for name, value in given.items() if value is not None} | (self.__pydantic_extra__ or {})

    @property
    def settled_optimizer(self) -> str | None:
        """The optimizer, where the objective fixes one or its recipe has only one."""
        choices = RECIPES[self.recipe].optimizers
        return choices[0] if len(choices) == 1 else self.optimizer

    @property
    def stacks(self) -> bool:
        """Whether many trials can be trained together."""
        return RECIPES[self.recipe].stacks

    @property
    def queue(self) -> str:
        return self.device

    @property
    def last_step(self) -> int | None:
        return self.epochs

    def handed(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """Return of a trial's parameters its options; what others are derived from alone is none."""
        return {name: value for name, value in params.items() if is_option(name)}

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
