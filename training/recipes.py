"""What a trial can run, by name, and how an objective and a trial's parameters become a plan."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import torch

from optim import catalog
from training import loop
from training.channel import Outcome
from training.data import load
from training.networks import build_network

Values: TypeAlias = Mapping[str, Any]

DEFAULT_EPOCHS = 20
MAX_EPOCHS = 10_000

_STRUCTURE = frozenset({"recipe", "data", "network", "epochs", "device"})
_CHOICES = frozenset({"optimizer", "schedule", *catalog.COMMON})
_OPTIONS = frozenset(option.name for info in catalog.OPTIMIZERS.values() for option in info.options) | frozenset(
    option.name for info in catalog.SCHEDULES.values() for option in info.options
)


class NoDevice(RuntimeError):
    """This host lacks the device that an objective asks for: no fault of the trial's."""


Recipe: TypeAlias = Callable[[Values, Values, int, loop.Watch], Outcome]


def run(objective: Values, params: Values, *, seed: int, watch: loop.Watch) -> Outcome:
    """Run the objective's recipe with a trial's parameters; `watch` follows it and may stop it.

    Values of None count as absent. Raise ValueError for anything that cannot be run, naming what is valid.
    """
    name: Any = objective.get("recipe")
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; valid: {', '.join(RECIPES)}")
    return RECIPES[name](_present(objective), _present(params), seed, watch)


def classifier(objective: Values, params: Values, seed: int, watch: loop.Watch) -> Outcome:
    """Train a network on one of the data sets and report train_loss, val_loss and val_accuracy after each epoch."""
    plan = plan_of(objective, params)
    data = load(_required(objective, "data"))
    network = build_network(_required(objective, "network"), data)
    device = device_of(objective.get("device", "cpu"))
    ending = loop.train(network, data.to(device), plan, seed=seed, watch=watch)
    return Outcome(ending.outcome, ending.reason)


RECIPES: Mapping[str, Recipe] = MappingProxyType({"classifier": classifier})


def plan_of(objective: Values, params: Values) -> loop.Plan:
    """Merge the trial's parameters over the objective's values over the catalog's defaults.

    A parameter that the chosen optimizer and schedule lack is refused. In the objective an option of another
    optimizer is let stand: it is meant for the trials that choose that one. Raise ValueError, naming what is valid.
    """
    fixed = {name: value for name, value in objective.items() if name not in _STRUCTURE}
    merged = {**fixed, **params}
    optimizer = catalog.optimizer_info(merged.get("optimizer", catalog.DEFAULT_OPTIMIZER))
    schedule = catalog.schedule_info(merged.get("schedule", catalog.DEFAULT_SCHEDULE))
    own = _CHOICES | _names(optimizer) | _names(schedule)
    unknown = sorted((set(fixed) - own - _OPTIONS) | (set(params) - own))
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: not of {optimizer.name} and {schedule.name}; valid: {', '.join(sorted(own))}"
        )
    return loop.Plan(
        optimizer=optimizer.name,
        options=catalog.complete(optimizer, _of(merged, optimizer)),
        schedule=schedule.name,
        schedule_options=catalog.complete(schedule, _of(merged, schedule)),
        warmup=_common(merged, "warmup"),
        batch_size=int(_common(merged, "batch_size")),
        epochs=_epochs(objective),
    )


def device_of(name: str) -> torch.device:
    """Return the device that an objective asks for; "gpu" is the first CUDA device that this process may see.

    Raise NoDevice when it may see none, ValueError for another name.
    """
    if name == "cpu":
        return torch.device("cpu")
    if name != "gpu":
        raise ValueError(f"unknown device {name!r}; valid: cpu, gpu")
    if not torch.cuda.is_available():
        raise NoDevice(
            "the objective asks for a gpu and this worker sees no CUDA device; use a worker of queue gpu on a host that has one"
        )
    return torch.device("cuda")


def _present(values: Values) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _required(objective: Values, name: str) -> Any:  # noqa: ANN401 - as it was posted
    if name not in objective:
        raise ValueError(f"objective.{name} is missing")
    return objective[name]


def _names(info: catalog.OptimizerInfo | catalog.ScheduleInfo) -> set[str]:
    return {option.name for option in info.options}


def _of(values: Values, info: catalog.OptimizerInfo | catalog.ScheduleInfo) -> dict[str, float]:
    return {name: value for name, value in values.items() if name in _names(info)}


def _common(values: Values, name: str) -> float:
    option = catalog.COMMON[name]
    value: float = values.get(name, option.default)
    wrong = option.check(value)
    if wrong is not None:
        raise ValueError(f"{name}: {wrong}")
    return value


def _epochs(objective: Values) -> int:
    epochs = objective.get("epochs", DEFAULT_EPOCHS)
    if type(epochs) is not int or not 1 <= epochs <= MAX_EPOCHS:
        raise ValueError(f"objective.epochs must be a whole number in [1, {MAX_EPOCHS}], got {epochs!r}")
    return epochs
