"""How a study searches: its strategy with its settings."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from search.definition.bounds import MOST_TRIALS, Name
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
    """Points suggested by a model of the results so far: a Gaussian process, or a Parzen estimator over many."""

    strategy: Literal["bayesian"] = Field(description=_STRATEGY)
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")
    startup: int = Field(
        10, ge=0, le=MOST_TRIALS, description="How many trials are spread over the space before the model suggests"
    )
    model: Literal["auto", "gp", "tpe"] = Field(
        "auto",
        description="gp: a Gaussian process; tpe: a tree-structured Parzen estimator; "
        "auto: gp up to 200 results over up to 32 parameters, and tpe beyond",
    )
    held: Annotated[tuple[Name, ...], Field(strict=False, max_length=64)] | None = Field(
        None,
        description="Parameters that stay at their defaults; absent = those of a recipe that so few trials are not for",
        examples=[[]],
    )


class SobolSearch(Part):
    """Points that fill the space evenly: Sobol's sequence, scrambled by the seed."""

    strategy: Literal["sobol"] = Field(description=_STRATEGY)
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")


class HaltonSearch(Part):
    """Points that fill the space evenly, however many: Halton's sequence, its digits permuted by the seed."""

    strategy: Literal["halton"] = Field(description=_STRATEGY)
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")


class CmaesSearch(Part):
    """Points of a normal distribution that moves and stretches towards the better ones (CMA-ES), for numbers alone."""

    strategy: Literal["cmaes"] = Field(description=_STRATEGY)
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")
    population: int | None = Field(
        None, ge=4, le=1000, description="After how many results it moves; absent = 4 + 3 log(number of parameters)"
    )

    def generation(self, dimensions: int) -> int:
        """Return how many results a generation has, of the first start."""
        return self.population or 4 + int(3 * math.log(dimensions))


class Nsga2Search(Part):
    """Points bred from the best so far: a genetic algorithm for several metrics and for constraints (NSGA-II)."""

    strategy: Literal["nsga2"] = Field(description=_STRATEGY)
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")
    population_size: int = Field(
        24, ge=2, le=1000, description="How many trials are random at first, and from how many of the best is bred then"
    )
    crossover: float = Field(0.9, ge=0, le=1, description="How likely a point has two parents, and not one")
    mutation: float | None = Field(
        None, ge=0, le=1, description="How likely each parameter is changed; absent = one of them on average"
    )


class PbtSearch(Part):
    """Members of a population that are trained an interval at a time; the worst go on from the best (PBT)."""

    strategy: Literal["pbt"] = Field(description=_STRATEGY)
    seed: int | None = Field(None, ge=0, lt=2**53, description="Absent = drawn and recorded")
    population: int = Field(16, ge=4, le=1000, description="How many members there are; no more trials run at a time")
    interval: int = Field(ge=1, le=MOST_TRIALS, description="By how many steps a trial trains further than its parent")
    quantile: float = Field(
        0.25, gt=0, le=0.5, description="The share of the worst that go on from one of as many of the best"
    )
    factor: float = Field(1.2, gt=1, le=10, description="By this a number is multiplied or divided, on its scale")
    resample: float = Field(0.25, ge=0, le=1, description="How likely a value is drawn anew instead")
    keep: Annotated[tuple[str, ...], Field(strict=False, max_length=64)] = Field(
        (), description="Parameters that stay as they are, such as those that decide on shapes", examples=[["layers"]]
    )

    def generations(self, last: int | None) -> int | None:
        """Return how many trials a lineage has that ends with step `last`; None if that is not known."""
        return None if last is None else last // self.interval


Search: TypeAlias = (
    GridSearch | RandomSearch | BayesianSearch | SobolSearch | HaltonSearch | CmaesSearch | Nsga2Search | PbtSearch
)
STRATEGIES: Mapping[str, type[Search]] = {
    "grid": GridSearch,
    "random": RandomSearch,
    "bayesian": BayesianSearch,
    "sobol": SobolSearch,
    "halton": HaltonSearch,
    "cmaes": CmaesSearch,
    "nsga2": Nsga2Search,
    "pbt": PbtSearch,
}
# The strategies that can optimize several metrics at once.
SEVERAL_OBJECTIVES = ("grid", "random", "sobol", "halton", "nsga2")
AnySearch: TypeAlias = Annotated[Search, Field(discriminator="strategy")]
