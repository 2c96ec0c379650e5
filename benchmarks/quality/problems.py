"""What is searched: functions, and recorded tables of real training.

A table is searched twice: by what its points came to on the mean of their seeds, and by one of their runs each time, as
in a real study, where luck is part of what is seen. Either way regret is of the mean.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.quality.functions import FUNCTIONS, Function, Params, Space
from benchmarks.tables.table import Table, load, names

ONE_RUN = ", one run each"


@dataclass(frozen=True, slots=True)
class Problem:
    """`observe` gives what trial `number` of a study of this seed sees at a point; infinity: it diverged.

    `regret` is how much worse than the best the point is, 0 for the best; of tables 1 is a middling point.
    """

    name: str
    objective: Mapping[str, Any]
    space: Space
    observe: Callable[[Params, int, int], float]
    regret: Callable[[Params], float]


def functions() -> list[str]:
    """Return the names of the functions."""
    return list(FUNCTIONS)


def tables() -> list[str]:
    """Return the names of the problems that are tables."""
    return [f"{name}{how}" for name in names() for how in ("", ONE_RUN)]


@cache
def problem(name: str) -> Problem:
    """Make a problem by its name."""
    if name in FUNCTIONS:
        function = FUNCTIONS[name]
        return Problem(name, {"external": True}, function.space, partial(_noisy, function), function.value)
    table = load(name.removesuffix(ONE_RUN))
    observe = partial(_run, table) if name.endswith(ONE_RUN) else partial(_mean, table)
    return Problem(name, table.objective, _ranges(table), observe, table.normalised_regret)


def _ranges(table: Table) -> Space:
    """Return a table's space without its levels: every sampler sees the whole ranges."""
    return {
        name: {key: value for key, value in parameter.items() if key != "levels"}
        for name, parameter in table.space.items()
    }


def _noisy(function: Function, params: Params, seed: int, number: int) -> float:
    rng = np.random.default_rng([seed, number])
    return function.value(params) + function.noise * float(rng.standard_normal())


def _run(table: Table, params: Params, seed: int, number: int) -> float:
    return table.final(params, int(np.random.default_rng([seed, number]).integers(table.seeds)))


def _mean(table: Table, params: Params, seed: int, number: int) -> float:
    del seed, number
    mean = table.mean(params)
    return mean if math.isfinite(mean) else math.inf
