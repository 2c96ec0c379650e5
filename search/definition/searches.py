"""How a study searches: its strategy with its settings."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from search.definition.bounds import MOST_TRIALS
from search.space.parameters import Part

_STRATEGY = "docs/strategies.md says which to use when"


class GridSearch(Part):
    """Every point of the grid once, in an order shuffled by the seed."""

    strategy: Literal["grid"] = Field(description=_STRATEGY)
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")


class RandomSearch(Part):
    """Independent points; each depends on the seed and its draw number alone."""

    strategy: Literal["random"] = Field(description=_STRATEGY)
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")


class BayesianSearch(Part):
    """Points suggested by a model of the results so far (a tree-structured Parzen estimator)."""

    strategy: Literal["bayesian"] = Field(description=_STRATEGY)
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")
    startup: int = Field(10, ge=0, le=MOST_TRIALS, description="How many trials are random before the model suggests")


class SobolSearch(Part):
    """Points that fill the space evenly: Sobol's sequence, scrambled by the seed."""

    strategy: Literal["sobol"] = Field(description=_STRATEGY)
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")


class HaltonSearch(Part):
    """Points that fill the space evenly, however many: Halton's sequence, its digits permuted by the seed."""

    strategy: Literal["halton"] = Field(description=_STRATEGY)
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")


Search: TypeAlias = GridSearch | RandomSearch | BayesianSearch | SobolSearch | HaltonSearch
STRATEGIES: Mapping[str, type[Search]] = {
    "grid": GridSearch,
    "random": RandomSearch,
    "bayesian": BayesianSearch,
    "sobol": SobolSearch,
    "halton": HaltonSearch,
}
AnySearch: TypeAlias = Annotated[Search, Field(discriminator="strategy")]
