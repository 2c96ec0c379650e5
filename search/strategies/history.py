"""Our trials as Optuna sees them: a parameter's values on a distribution it knows, and a storage that is one sorted list.

What a trial tells the model:
    completed          its score
    pruned             its last score; the sampler ranks pruned trials behind completed ones
    diverged           that its point is unstable: a violated constraint, ranked behind everything with a score
    running, queued    that its point is taken, if it has one: a constant liar keeps others away from it
    failed, cancelled  nothing
The list is ordered by trial number, so what the model sees depends on which trials it knows, not on when it heard of them.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.records import TrialRecord
from search.space.axes import lattice
from search.space.nodes import Node
from search.space.parameters import CategoricalParameter, FloatParameter, IntParameter, Searched, Value
from search.space.plan import Plan
from search.space.scales import WARPS

UNSTABLE = {"unstable": 1.0}


@dataclass(frozen=True, slots=True)
class Coding:
    """A parameter on a distribution: `encode` returns None for a value outside its domain; `only` is its sole value."""

    distribution: BaseDistribution
    encode: Callable[[Value], int | float | None]
    decode: Callable[[int | float], Value]


def coding(parameter: Searched) -> Coding:
    """Choose a distribution: places in a list or lattice, else the range on its scale.

    Optuna has a linear and a log scale; of reverse_log it sees 1 - x on its log scale, of logit the logit on its linear one.
    """
    if isinstance(parameter, IntParameter) and parameter.scale == "log":
        whole = IntDistribution(parameter.low, parameter.high, log=True)
        return Coding(whole, _within(parameter.low, parameter.high), int)
    axis = lattice(parameter)
    if axis is not None:
        places = (
            CategoricalDistribution(range(axis.size)) if _unordered(parameter) else IntDistribution(0, axis.size - 1)
        )
        return Coding(places, axis.place, lambda place: axis.at(int(place)))
    if isinstance(parameter, CategoricalParameter):  # pragma: no cover - a categorical always has a lattice
        raise TypeError("a categorical parameter has a lattice")
    low, high = parameter.low, parameter.high
    within = _within(low, high)
    if parameter.scale == "logit":
        return _warped(parameter)
    if parameter.scale != "reverse_log":
        return Coding(FloatDistribution(low, high, log=parameter.scale == "log"), within, float)
    nearest, farthest = 1 - high, 1 - low

    def encode(value: Value) -> float | None:
        number = within(value)
        return None if number is None else min(max(1 - number, nearest), farthest)

    distribution = FloatDistribution(nearest, farthest, log=True)
    return Coding(distribution, encode, lambda distance: min(max(1 - distance, low), high))


def _warped(parameter: FloatParameter) -> Coding:
    """Code a value as its place on the parameter's scale."""
    onto, back = WARPS[parameter.scale]
    low, high = parameter.low, parameter.high
    within, distribution = _within(low, high), FloatDistribution(onto(low), onto(high))

    def encode(value: Value) -> float | None:
        number = within(value)
        return None if number is None else min(max(onto(number), distribution.low), distribution.high)

    return Coding(distribution, encode, lambda place: min(max(back(place), low), high))


def _unordered(parameter: Searched) -> bool:
    return isinstance(parameter, CategoricalParameter)


def _within(low: float, high: float) -> Callable[[Value], int | float | None]:
    def encode(value: Value) -> int | float | None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if number and low <= value <= high else None  # type: ignore[operator, return-value]

    return encode


class Codebook:
    """The codings of a whole space."""

    def __init__(self, plan: Plan) -> None:
        self._codings = {node.name: coding(node.parameter) for node in plan.nodes}
        # What follows from the space or from other values is in every point, and tells a model nothing.
        self._carried = {node.name for node in plan.order if not node.searched} | {name for name, _ in plan.derivations}

    def __getitem__(self, name: str) -> Coding:
        return self._codings[name]

    def joint(self, plan: Plan) -> dict[str, BaseDistribution]:
        """Return the unconditional parameters with more than one value: those every trial has, modelled together."""
        free = [node.name for node in plan.nodes if not node.parameter.when]
        return {name: self[name].distribution for name in free if not self[name].distribution.single()}

    def only(self, node: Node) -> Value:
        """Return the value of a parameter that has just one."""
        distribution = self[node.name].distribution
        if isinstance(distribution, IntDistribution | FloatDistribution):
            return self[node.name].decode(distribution.low)
        return self[node.name].decode(0)

    def trial(
        self,
        number: int,
        params: Mapping[str, Value],
        *,
        state: TrialState,
        value: float | None = None,
        intermediate: dict[int, float] | None = None,
        constraints: dict[str, float] | None = None,
    ) -> FrozenTrial | None:
        """Make a trial, or None if a value lies outside the space."""
        searched = {name: given for name, given in params.items() if name not in self._carried}
        coded = {name: self._codings[name].encode(given) for name, given in searched.items() if name in self._codings}
        if len(coded) < len(searched) or None in coded.values():
            return None
        trial = create_trial(
            state=state,
            value=value,
            params=coded,
            distributions={name: self._codings[name].distribution for name in coded},
            intermediate_values=intermediate,
            constraints=constraints,
        )
        trial.number = number
        return trial

    def evidence(self, record: TrialRecord) -> FrozenTrial | None:
        """Translate a trial as the table above says; None if it tells the model nothing."""
        tell = _EVIDENCE.get(record.state)
        return None if tell is None or record.params is None else tell(self, record)


def _pending(codes: Codebook, record: TrialRecord) -> FrozenTrial | None:
    return codes.trial(record.number, record.params or {}, state=TrialState.RUNNING)


def _completed(codes: Codebook, record: TrialRecord) -> FrozenTrial | None:
    if record.score is None:
        return None
    return codes.trial(record.number, record.params or {}, state=TrialState.COMPLETE, value=record.score)


def _pruned(codes: Codebook, record: TrialRecord) -> FrozenTrial | None:
    if record.score is None:
        return None
    last = {0: record.score}
    return codes.trial(record.number, record.params or {}, state=TrialState.PRUNED, intermediate=last)


def _diverged(codes: Codebook, record: TrialRecord) -> FrozenTrial | None:
    # The value is never looked at: a trial that violates a constraint is ranked by how far it does.
    state, params = TrialState.COMPLETE, record.params or {}
    return codes.trial(record.number, params, state=state, value=0.0, constraints=UNSTABLE)


_EVIDENCE: Mapping[str, Callable[[Codebook, TrialRecord], FrozenTrial | None]] = {
    "queued": _pending,
    "running": _pending,
    "completed": _completed,
    "pruned": _pruned,
    "diverged": _diverged,
}


class History(InMemoryStorage):
    """A storage whose trials are set by `put`, one for each number, and read in order of their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._trials: list[FrozenTrial] = []

    def put(self, number: int, trial: FrozenTrial | None) -> None:
        """Replace what is known of a trial number; None forgets it."""
        place = bisect_left(self._trials, number, key=_number)
        if place < len(self._trials) and self._trials[place].number == number:
            del self._trials[place]
        if trial is not None:
            insort(self._trials, trial, key=_number)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in the given states; they are never changed, so never copied."""
        del study_id, deepcopy
        return [trial for trial in self._trials if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        """Do nothing: the sampler notes a half-made point for other processes; here there are none."""


def _number(trial: FrozenTrial) -> int:
    return int(trial.number)
