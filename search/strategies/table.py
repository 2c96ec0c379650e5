"""Strategies by name. A new one is a module beside this one, a line here and its fields in `search.schema`."""

from collections.abc import Callable, Mapping

from search.schema import StudyDefinition
from search.strategies.base import Strategy
from search.strategies.bayesian import Bayesian
from search.strategies.grid import Grid
from search.strategies.uniform import Uniform

__all__ = ["STRATEGIES", "Strategy", "make"]

STRATEGIES: Mapping[str, Callable[[StudyDefinition, int], Strategy]] = {
    "grid": Grid,
    "random": Uniform,
    "bayesian": Bayesian,
}


def make(definition: StudyDefinition, seed: int) -> Strategy:
    """Make the study's strategy; `seed` (0 <= seed < 2^53) is the study's, posted or drawn."""
    return STRATEGIES[definition.search.strategy](definition, seed)
