"""Strategies by name. A new one is a module beside this one, a line here and its fields in `search.definition.schema`.

Each is loaded when it is first wanted: an API process that is never asked for a model-based trial loads no library for it.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from search.definition.schema import StudyDefinition
from search.strategies.base import Strategy

__all__ = ["STRATEGIES", "Strategy", "make"]

# Name -> (module of this package, class).
STRATEGIES: Mapping[str, tuple[str, str]] = {
    "grid": ("grid", "Grid"),
    "random": ("uniform", "Uniform"),
    "bayesian": ("bayesian", "Bayesian"),
    "sobol": ("quasirandom", "Sobol"),
    "halton": ("quasirandom", "Halton"),
    "cmaes": ("cmaes", "Cmaes"),
    "nsga2": ("nsga2", "Nsga2"),
    "pbt": ("pbt", "Pbt"),
}


def make(definition: StudyDefinition, seed: int) -> Strategy:
    """Make the study's strategy; `seed` (0 <= seed < 2^53) is the study's, posted or drawn."""
    module, name = STRATEGIES[definition.search.strategy]
    made = getattr(import_module(f"search.strategies.{module}"), name)(definition, seed)
    return cast("Strategy", made)
