"""How a trial trains: its parameters merged with the objective's and the catalog's, and what the core makes of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from optim import catalog, plateau
from optim.build import build_rule
from optim.links import averages, clip
from optim.plateau import PlateauState
from optim.precondition.layers import Layer
from optim.precondition.lengths import in_steps
from optim.precondition.methods import asks
from optim.schedules import schedule
from optim.sparse import rule as scaled
from optim.sparse.settings import Wide, settings
from optim.transform import Rule, chain
from training.meter import Measured, measured_of

Values: TypeAlias = Mapping[str, Any]

DEFAULT_EPOCHS = 20
SPARSE_SGD = "sparse_sgd"
MAX_EPOCHS = 10_000

# What an objective says beside options of the training.
STRUCTURE = frozenset(
    {"recipe", "data", "network", "epochs", "begins", "ends", "device", "precision", "measured", "curvature"}
)
_CHOICES = frozenset({"optimizer", "schedule", *catalog.COMMON})
_OPTIONS = frozenset(option.name for info in catalog.TRAINERS.values() for option in info.options) | frozenset(
    option.name for info in catalog.SCHEDULES.values() for option in info.options
)

# The links that stand before the rule, by the option that governs each.
_BEFORE: Mapping[str, Rule[Any]] = {
    "clip_value": clip.by_value,
    "clip_layer_norm": clip.by_layer,
    "clip_norm": clip.by_norm,
}
# Those that stand behind it.
_BEHIND: Mapping[str, Rule[Any]] = {"ema": averages.ema, "swa_start": averages.swa}
# The value of each that leaves it out.
_OFF: Mapping[str, float] = {**dict.fromkeys(_BEFORE, 0.0), "ema": 0.0, "swa_start": 1.0}


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. `options` are all of the optimizer's, `common` all that every training has.

    A run is of `epochs`, of which this one trains those from `begins`, where it goes on from another one's checkpoint, to
    `ends` (None: to the end), with which it leaves one. `curvature` names what is made of the curvature at its end,
    each with its options (`posthoc.table`). `wide` is what is trained by sparse_sgd, if it is.
    """

    optimizer: str
    options: Mapping[str, Any]
    schedule: str
    schedule_options: Mapping[str, Any]
    common: Mapping[str, Any]
    epochs: int
    begins: int = 0
    ends: int | None = None
    measured: Measured | None = None
    curvature: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    wide: Wide | None = None

    @property
    def until(self) -> int:
        """The epoch that is trained last."""
        return self.epochs if self.ends is None else self.ends

    @property
    def hands_on(self) -> bool:
        """Whether another run may go on from where this one ends."""
        return self.until < self.epochs

    def batch_size(self, examples: int) -> int:
        """Return how many of `examples` one step takes."""
        sizes = {"mini": min(int(self.common["batch_size"]), examples), "full": examples, "single": 1}
        return sizes[self.common["batch_mode"]]

    def rule(self, layers: Sequence[Layer] = ()) -> Rule[Any]:
        """Return the optimizer's rule between the links that are wanted: clipping before it, averaging behind.

        `layers` are those of the network, of which an optimizer wants to know that preconditions.
        """
        if self.wide is not None:
            return scaled.RULE
        _, wanted = self.kind
        before, behind = ([table[name] for name in wanted if name in table] for table in (_BEFORE, _BEHIND))
        own = build_rule(self.optimizer, layers, between=before)
        return chain(own, *behind) if behind else own

    @property
    def kind(self) -> tuple[str, tuple[str, ...]]:
        """The optimizer and the options whose links are wanted: plans of one kind have one rule."""
        return self.optimizer, tuple(name for name, off in _OFF.items() if self.common[name] != off)

    @property
    def preconditions(self) -> bool:
        """Whether its optimizer wants to know the network's layers."""
        return asks(self.optimizer)

    def hyper(self, steps: int) -> dict[str, Tensor]:
        """Return the hyperparameters of `rule` for a training of `steps` steps in all, `lr` at its base.

        Raise ValueError for a length that is given in steps and as a share of all.
        """
        options = catalog.by_name(catalog.trainer_info(self.optimizer).options)
        own = {name: options[name].number(value) for name, value in in_steps(self.options, steps).items()}
        own |= {name: self.common[name] for name in (*_BEFORE, "ema")}
        own["swa_start"] = round(self.common["swa_start"] * steps)
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in own.items()}

    def factor(self, steps: int) -> Callable[[Tensor], Tensor]:
        """Return the factor on the base learning rate as a function of the step, of `steps` in all.

        Raise ValueError for a warm-up that is not shorter than the training.
        """
        warmup = {name: self.common[name] for name in ("warmup", "warmup_steps", "warmup_shape")}
        return schedule(self.schedule, total_steps=steps, **warmup, **self.schedule_options)

    def plateau(self) -> PlateauState | tuple[()]:
        """Return the state of a schedule that follows the validation loss, nothing where the schedule follows none."""
        return plateau.init() if self.schedule == "plateau" else ()

    def after_epoch(self, state: PlateauState | tuple[()], val_loss: float) -> PlateauState | tuple[()]:
        """Return the state after an epoch that ended with this validation loss."""
        if not isinstance(state, PlateauState):
            return state
        return plateau.update(state, val_loss, self.schedule_options)

    def held(self, state: PlateauState | tuple[()]) -> Tensor | float:
        """Return the factor on the rate that the state asks for."""
        return state.factor if isinstance(state, PlateauState) else 1.0


def plan_of(objective: Values, params: Values) -> Plan:
    """Merge the trial's parameters over the objective's values over the catalog's defaults.

    A parameter that the chosen optimizer and schedule lack is refused. In the objective an option of another
    optimizer is let stand: it is meant for the trials that choose that one. Raise ValueError, naming what is valid.
    """
    fixed = {name: value for name, value in objective.items() if name not in STRUCTURE}
    merged = {**fixed, **params}
    optimizer = catalog.trainer_info(merged.get("optimizer", catalog.DEFAULT_OPTIMIZER))
    schedule_info = catalog.schedule_info(merged.get("schedule", catalog.DEFAULT_SCHEDULE))
    own = _CHOICES | _names(optimizer) | _names(schedule_info)
    unknown = sorted((set(fixed) - own - _OPTIONS) | (set(params) - own))
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: not of {optimizer.name} and {schedule_info.name}; valid: {', '.join(sorted(own))}"
        )
    options = catalog.complete(optimizer, _of(merged, optimizer))
    return Plan(
        optimizer=optimizer.name,
        options=options,
        schedule=schedule_info.name,
        schedule_options=catalog.complete(schedule_info, _of(merged, schedule_info)),
        common={name: _common(merged, name) for name in catalog.COMMON},
        epochs=_epochs(objective),
        begins=objective.get("begins", 0),
        ends=objective.get("ends"),
        measured=measured_of(objective),
        wide=settings(options) if optimizer.name == SPARSE_SGD else None,
    )


def _names(info: catalog.OptimizerInfo | catalog.ScheduleInfo) -> set[str]:
    return {option.name for option in info.options}


def _of(values: Values, info: catalog.OptimizerInfo | catalog.ScheduleInfo) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in _names(info)}


def _common(values: Values, name: str) -> Any:  # noqa: ANN401 - a number, a switch or a choice
    option = catalog.COMMON[name]
    value = values.get(name, option.default)
    wrong = option.check(value)
    if wrong is not None:
        raise ValueError(f"{name}: {wrong}")
    return value


def _epochs(objective: Values) -> int:
    epochs = objective.get("epochs", DEFAULT_EPOCHS)
    if type(epochs) is not int or not 1 <= epochs <= MAX_EPOCHS:
        raise ValueError(f"objective.epochs must be a whole number in [1, {MAX_EPOCHS}], got {epochs!r}")
    return epochs
