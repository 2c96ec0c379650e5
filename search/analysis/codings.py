"""Parameters as Optuna sees them: a distribution that it knows, and a value's place on it; and a storage of finished trials."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from search.space.axes import lattice
from search.space.parameters import CategoricalParameter, FloatParameter, IntParameter, Searched, Value
from search.space.scales import WARPS


@dataclass(frozen=True, slots=True)
class Coding:
    """A parameter on a distribution: `encode` returns None for a value outside its domain."""

    distribution: BaseDistribution
    encode: Callable[[Value], int | float | None]


def coding(parameter: Searched) -> Coding:
    """Choose a distribution: places in a list or lattice, else the range on its scale.

    Optuna has a linear and a log scale; of reverse_log it sees 1 - x on its log scale, of logit the logit on its linear one.
    """
    if isinstance(parameter, IntParameter) and parameter.scale == "log":
        whole = IntDistribution(parameter.low, parameter.high, log=True)
        return Coding(whole, _within(parameter.low, parameter.high))
    axis = lattice(parameter)
    if axis is not None:
        places = (
            CategoricalDistribution(range(axis.size)) if _unordered(parameter) else IntDistribution(0, axis.size - 1)
        )
        return Coding(places, axis.place)
    if isinstance(parameter, CategoricalParameter):  # pragma: no cover - a categorical always has a lattice
        raise TypeError("a categorical parameter has a lattice")
    low, high = parameter.low, parameter.high
    within = _within(low, high)
    if parameter.scale == "logit":
        return _warped(parameter)
    if parameter.scale != "reverse_log":
        return Coding(FloatDistribution(low, high, log=parameter.scale == "log"), within)
    nearest, farthest = 1 - high, 1 - low

    def encode(value: Value) -> float | None:
        number = within(value)
        return None if number is None else min(max(1 - number, nearest), farthest)

    distribution = FloatDistribution(nearest, farthest, log=True)
    return Coding(distribution, encode)


def _warped(parameter: FloatParameter) -> Coding:
    """Code a value as its place on the parameter's scale."""
    onto, _ = WARPS[parameter.scale]
    low, high = parameter.low, parameter.high
    within, distribution = _within(low, high), FloatDistribution(onto(low), onto(high))

    def encode(value: Value) -> float | None:
        number = within(value)
        return None if number is None else min(max(onto(number), distribution.low), distribution.high)

    return Coding(distribution, encode)


def _unordered(parameter: Searched) -> bool:
    return isinstance(parameter, CategoricalParameter)


def _within(low: float, high: float) -> Callable[[Value], int | float | None]:
    def encode(value: Value) -> int | float | None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if number and low <= value <= high else None  # type: ignore[operator, return-value]

    return encode


class Finished(InMemoryStorage):
    """A storage that holds just these trials, which are never changed and so never copied."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._trials = list(trials)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in the given states."""
        del study_id, deepcopy
        return [trial for trial in self._trials if states is None or trial.state in states]
