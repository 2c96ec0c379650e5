"""Every optimizer and schedule by name: their options, valid ranges, recommended search ranges and sources.

Pure data without torch. `build` and `schedules` take defaults and checks from here, the API lists it, a study's
definition is checked against it, and the tests walk it, so a name that stands here exists everywhere.

Search ranges are starting points for small and medium networks. Where their source gives a range for 1 - x
(momentum, betas), the range here is that of x with `scale="reverse_log"`: uniform in log(1 - x).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Option:
    """One hyperparameter: its type, default, valid range and recommended search range.

    `kind` is "float", "int" or "bool"; `low` and `high` bound what is accepted, an end being excluded where
    `low_open` or `high_open` says so. `search_low` and `search_high` are None where searching it is not advised.
    `scale` is "linear", "log" or "reverse_log" and belongs to the search range.
    """

    name: str
    kind: str
    default: float
    low: float
    high: float
    low_open: bool = False
    high_open: bool = False
    search_low: float | None = None
    search_high: float | None = None
    scale: str = "linear"
    title: str = ""

    @property
    def range(self) -> str:
        """The valid range in interval notation, such as `[0, 1)`."""
        ends = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"{ends[0]}{self.low:g}, {self.high:g}{ends[1]}"

    def check(self, value: object) -> str | None:
        """Return None if `value` is acceptable, else what is wrong: `must be in [0, 1), got 1.5`."""
        if self.kind == "bool":
            return None if isinstance(value, bool) else f"must be true or false, got {value!r}"
        if self.kind == "int" and (isinstance(value, bool) or not isinstance(value, int)):
            return f"must be a whole number in {self.range}, got {value!r}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a number in {self.range}, got {value!r}"
        return None if self._contains(value) else f"must be in {self.range}, got {value!r}"

    def _contains(self, value: float) -> bool:
        # Integers may be too large for a float; comparisons with them are exact, so only floats can be NaN.
        if isinstance(value, float) and not math.isfinite(value):
            return False
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below


@dataclass(frozen=True, slots=True)
class OptimizerInfo:
    """One optimizer: its options in order, where its formula comes from, and when to reach for it."""

    name: str
    title: str
    options: tuple[Option, ...]
    source: str
    when_to_use: str


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """One schedule of the learning rate; `options` are expressed so that they do not depend on the number of steps."""

    name: str
    title: str
    options: tuple[Option, ...]
    source: str


def _rate(default: float, *, search: tuple[float, float]) -> Option:
    low, high = search
    title = "Learning rate"
    return Option("lr", "float", default, 0.0, 1e6, search_low=low, search_high=high, scale="log", title=title)


def _share(name: str, default: float, title: str, *, search: tuple[float, float], scale: str = "reverse_log") -> Option:
    """Describe a weight in [0, 1) given to the past."""
    low, high = search
    return Option(
        name, "float", default, 0.0, 1.0, high_open=True, search_low=low, search_high=high, scale=scale, title=title
    )


def _decay(default: float, *, search: tuple[float, float], decoupled: bool = False) -> Option:
    low, high = search
    title = "Weight decay, decoupled from the gradient" if decoupled else "Weight decay, as an L2 term in the gradient"
    return Option(
        "weight_decay", "float", default, 0.0, 1e6, search_low=low, search_high=high, scale="log", title=title
    )


def _eps(default: float) -> Option:
    title = "Added to the denominator"
    return Option("eps", "float", default, 0.0, 1e6, search_low=1e-10, search_high=1e-3, scale="log", title=title)


def _momentum(default: float) -> Option:
    return _share("momentum", default, "Momentum: weight of the accumulated gradient", search=(0.7, 0.995))


_BETAS = (
    _share("beta1", 0.9, "Weight of the past in the mean of gradients", search=(0.5, 0.98)),
    _share("beta2", 0.999, "Weight of the past in the mean of squared gradients", search=(0.9, 0.9999)),
)

_OPTIMIZERS = (
    OptimizerInfo(
        name="sgd",
        title="Stochastic gradient descent",
        options=(_rate(1e-3, search=(1e-3, 1.0)), _decay(0.0, search=(1e-7, 1e-3))),
        source="Robbins and Monro, A Stochastic Approximation Method, 1951",
        when_to_use="As the baseline, and where memory for optimizer state is short.",
    ),
    OptimizerInfo(
        name="momentum",
        title="SGD with momentum",
        options=(_rate(1e-3, search=(1e-3, 1.0)), _momentum(0.9), _decay(0.0, search=(1e-7, 5e-5))),
        source="Polyak, Some methods of speeding up the convergence of iteration methods, 1964; "
        "Sutskever et al., On the importance of initialization and momentum in deep learning, 2013",
        when_to_use="For convolutional and other well-scaled networks, where it often generalises best once tuned.",
    ),
    OptimizerInfo(
        name="nesterov",
        title="SGD with Nesterov momentum",
        options=(_rate(1e-3, search=(1e-3, 1.0)), _momentum(0.9), _decay(0.0, search=(1e-7, 5e-5))),
        source="Nesterov, A method of solving a convex programming problem with convergence rate O(1/k^2), 1983; "
        "Sutskever et al., On the importance of initialization and momentum in deep learning, 2013",
        when_to_use="Instead of momentum when the problem is ill-conditioned or the rate high: it overshoots less.",
    ),
    OptimizerInfo(
        name="adagrad",
        title="AdaGrad",
        options=(
            _rate(1e-2, search=(1e-3, 1.0)),
            Option("lr_decay", "float", 0.0, 0.0, 1e6, title="Rate of the rule's own 1 / (1 + d t) decay"),
            Option(
                "initial_accumulator_value",
                "float",
                0.0,
                0.0,
                1e6,
                search_low=0.0,
                search_high=0.1,
                title="Start value of the sum of squared gradients",
            ),
            _eps(1e-10),
            _decay(0.0, search=(1e-7, 1e-3)),
        ),
        source="Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic "
        "Optimization, 2011",
        when_to_use="For sparse features, such as embeddings and bags of words; its rates only ever shrink.",
    ),
    OptimizerInfo(
        name="rmsprop",
        title="RMSprop",
        options=(
            _rate(1e-2, search=(1e-5, 1e-2)),
            _share("alpha", 0.99, "Weight of the past in the mean of squared gradients", search=(0.9, 0.99)),
            _share("momentum", 0.0, "Momentum: weight of the accumulated step", search=(0.0, 0.9), scale="linear"),
            _eps(1e-8),
            _decay(0.0, search=(1e-6, 1e-2)),
        ),
        source="Tieleman and Hinton, Lecture 6.5: rmsprop, COURSERA Neural Networks for Machine Learning, 2012",
        when_to_use="For recurrent networks and other non-stationary objectives.",
    ),
    OptimizerInfo(
        name="adam",
        title="Adam",
        options=(_rate(1e-3, search=(1e-4, 1e-2)), *_BETAS, _eps(1e-8), _decay(0.0, search=(1e-7, 1e-3))),
        source="Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015 (arXiv 1412.6980)",
        when_to_use="As a first choice that works with little tuning.",
    ),
    OptimizerInfo(
        name="adamw",
        title="AdamW",
        options=(
            _rate(1e-3, search=(1e-4, 1e-2)),
            *_BETAS,
            _eps(1e-8),
            _decay(1e-2, search=(5e-3, 1.0), decoupled=True),
        ),
        source="Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019 (arXiv 1711.05101)",
        when_to_use="For transformers, and wherever Adam is used with weight decay.",
    ),
)

_FINAL_TITLE = "Factor on the learning rate at the end of training"
_SCHEDULES = (
    ScheduleInfo(
        name="constant",
        title="Constant",
        options=(),
        source="The base rate throughout",
    ),
    ScheduleInfo(
        name="step",
        title="Step decay",
        options=(
            Option(
                "decay_gamma",
                "float",
                0.1,
                0.0,
                1.0,
                low_open=True,
                search_low=0.1,
                search_high=0.9,
                title="Factor by which the rate falls at each step",
            ),
            Option(
                "decay_every",
                "float",
                1 / 3,
                0.0,
                1.0,
                low_open=True,
                search_low=0.1,
                search_high=0.5,
                title="Distance of the steps, as a fraction of the training after warm-up",
            ),
        ),
        source="gamma ** floor(k / s), s steps apart",
    ),
    ScheduleInfo(
        name="exponential",
        title="Exponential decay",
        options=(
            Option(
                "decay_final",
                "float",
                0.01,
                0.0,
                1.0,
                low_open=True,
                search_low=1e-4,
                search_high=0.5,
                scale="log",
                title=_FINAL_TITLE,
            ),
        ),
        source="final ** u, that is gamma ** k with gamma = final ** (1 / steps after warm-up)",
    ),
    ScheduleInfo(
        name="time",
        title="Time-based decay",
        options=(
            Option(
                "decay_rate",
                "float",
                9.0,
                0.0,
                1e9,
                search_low=0.1,
                search_high=1000.0,
                scale="log",
                title="Decay rate over the whole training after warm-up: the rate ends at 1 / (1 + decay_rate)",
            ),
        ),
        source="1 / (1 + rate u), that is 1 / (1 + k t) with k = rate / steps after warm-up",
    ),
    ScheduleInfo(
        name="cosine",
        title="Cosine decay",
        options=(Option("decay_final", "float", 0.0, 0.0, 1.0, search_low=0.0, search_high=0.1, title=_FINAL_TITLE),),
        source="Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017 (arXiv 1608.03983), "
        "without restarts",
    ),
)

OPTIMIZERS: Mapping[str, OptimizerInfo] = MappingProxyType({info.name: info for info in _OPTIMIZERS})
SCHEDULES: Mapping[str, ScheduleInfo] = MappingProxyType({info.name: info for info in _SCHEDULES})
WARMUPS = ("linear",)
DEFAULT_OPTIMIZER = "adam"
DEFAULT_SCHEDULE = "constant"

COMMON: Mapping[str, Option] = MappingProxyType({
    "warmup": Option(
        "warmup", "float", 0.0, 0.0, 1.0, high_open=True, search_low=0.0, search_high=0.1,
        title="Fraction of all steps in which the rate rises linearly from zero to its base",
    ),
    "batch_size": Option(
        "batch_size", "int", 32, 1, 1_048_576, search_low=16, search_high=512, scale="log",
        title="Examples in one step",
    ),
})  # fmt: skip


def optimizer_info(name: str) -> OptimizerInfo:
    """Return the optimizer called `name`. Raise ValueError listing the valid names if there is none."""
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; valid: {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name]


def schedule_info(name: str) -> ScheduleInfo:
    """Return the schedule called `name`. Raise ValueError listing the valid names if there is none."""
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; valid: {', '.join(SCHEDULES)}")
    return SCHEDULES[name]


def faults(info: OptimizerInfo | ScheduleInfo, values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return (option name, what is wrong) for each of `values` that `info` does not accept."""
    known = {option.name: option for option in info.options}
    found = []
    for name, value in values.items():
        message = known[name].check(value) if name in known else f"not an option of {info.name}; valid: {_names(known)}"
        if message is not None:
            found.append((name, message))
    return found


def complete(info: OptimizerInfo | ScheduleInfo, values: Mapping[str, float]) -> dict[str, float]:
    """Return every option of `info` with its value or its default.

    Raise ValueError naming each option that is unknown (and the valid ones) or out of range (and the range).
    """
    found = faults(info, values)
    if found:
        raise ValueError("; ".join(f"{info.name}: {name}: {message}" for name, message in found))
    return {option.name: values.get(option.name, option.default) for option in info.options}


def _names(known: Mapping[str, Option]) -> str:
    return ", ".join(known) or "none"
