"""Measures of importance by name. Each is loaded when it is first wanted: an API process that is never asked loads none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from search.space.parameters import Parameter

MODULE = "search.analysis.importance"
METHODS = ("ped_anova", "fanova")  # functions of MODULE
FEWEST = 10  # completed trials, before anything is said


@dataclass(frozen=True, slots=True)
class Observation:
    """A completed trial: its parameters, and a score of which lower is better."""

    params: Mapping[str, Any]
    score: float


@dataclass(frozen=True, slots=True)
class ImportanceRecord:
    """A parameter's share of the whole, and over how many trials in which it was active that was judged."""

    parameter: str
    importance: float
    trials: int


@dataclass(frozen=True, slots=True)
class Importance:
    """All parameters, the most important first; the shares sum to 1, or are all 0 where nothing can be told.

    `used` is over how many different trials they were judged.
    """

    parameters: tuple[ImportanceRecord, ...]
    used: int


class Method(Protocol):
    """Judges the parameters of a space by what was observed; the same seed gives the same answer."""

    def __call__(
        self, space: Mapping[str, Parameter], observations: Sequence[Observation], *, seed: int
    ) -> Importance: ...


def method(name: str) -> Method:
    """Return a measure of importance; `name` is one of METHODS."""
    return cast("Method", getattr(import_module(MODULE), name))
