"""What is known of optimizers before anything was trained: which settings act together.

With momentum m a learning rate moves parameters as lr / (1 - m) does without (B. Polyak, 1964; S. Smith et al., "Don't decay
the learning rate, increase the batch size", 2018), so points of equal lr / (1 - m) are alike. With a larger batch a larger
rate is right: in proportion for gradient descent (P. Goyal et al., 2017), with the square root for Adam (S. Malladi et al.,
2022). How much of either holds here is for the model to learn.
"""

import math
from collections.abc import Callable

import numpy as np

from search.space.parameters import FloatParameter, IntParameter, Value
from search.surrogates.columns import Column, Columns
from search.surrogates.kernel import Lean

_RATES = ("lr", "learning_rate")
# Source -> (what of it acts on the log of the rate, the multiple expected, give or take).
_SOURCES: dict[str, tuple[Callable[[float], float], float, float]] = {
    "momentum": (lambda value: -math.log(max(1.0 - value, 1e-6)), 1.0, 0.5),
    "batch_size": (lambda value: -math.log(max(value, 1e-6)), 0.5, 0.5),
}


def leans(columns: Columns) -> tuple[Lean, ...]:
    """Return which columns lean on which, by the names that optimizers' settings have."""
    target = next((columns.place[name] for name in _RATES if name in columns.place), None)
    if target is None or not _is_log(columns.all[target]):
        return ()
    parameter = columns.all[target].parameter
    assert isinstance(parameter, FloatParameter)  # noqa: S101
    decades = math.log(parameter.high / parameter.low)
    return tuple(
        lean
        for name in _SOURCES
        if name in columns.place and (lean := _lean(columns, target, columns.place[name], decades)) is not None
    )


def _is_log(column: Column) -> bool:
    return isinstance(column.parameter, FloatParameter) and column.parameter.scale == "log"


def _lean(columns: Columns, target: int, source: int, decades: float) -> Lean | None:
    """Fit a line to what the source does along its column; None where it is no number, or bends too much."""
    column = columns.all[source]
    if column.choice:
        return None
    act, expected, spread = _SOURCES[column.name]
    places = (np.arange(9.0) + 0.5) / 9
    values: list[Value] = [column.decode(float(place)) for place in places]
    acts = np.array([act(float(value)) for value in values if isinstance(value, int | float)]) / decades
    if isinstance(column.parameter, IntParameter | FloatParameter) or len(acts) == len(places):
        slope, offset = np.polyfit(places, acts, 1)
        return Lean(target, source, float(offset), float(slope), expected, spread)
    return None
