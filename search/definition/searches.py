"""How a study searches: its strategy with its settings."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from search.definition.bounds import MOST_TRIALS
from search.space.parameters import Part


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
AnySearch: TypeAlias = Annotated[Search, Field(discriminator="strategy")]
