"""What a trial can run, by name, and how an objective and a trial's parameters become a plan."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import torch

from training import loop
from training.channel import Outcome
from training.data.bundled import DATA
from training.data.folder import find
from training.networks.table import build_network
from training.plan import Values, plan_of
from training.tasks import CLASSIFICATION, REGRESSION, Task
from training.watch import Watch


class NoDevice(RuntimeError):
    """This host lacks the device that an objective asks for: no fault of the trial's."""


Recipe: TypeAlias = Callable[[Values, Values, int, Watch, Path | None], Outcome]


def run(objective: Values, params: Values, *, seed: int, watch: Watch, folder: Path | None = None) -> Outcome:
    """Run the objective's recipe with a trial's parameters; `watch` follows it and may stop it.

    Data that are not bundled are looked for in `folder`. Values of None count as absent. Raise ValueError for anything
    that cannot be run, naming what is valid.
    """
    name: Any = objective.get("recipe")
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; valid: {', '.join(RECIPES)}")
    return RECIPES[name](_present(objective), _present(params), seed, watch, folder)


def _train(task: Task, objective: Values, params: Values, seed: int, watch: Watch, folder: Path | None) -> Outcome:
    """Train a network on data of this task, and report after each epoch what `loop.train` measures."""
    plan = plan_of(objective, params)
    data = find(_required(objective, "data"), folder)
    if data.task is not task:
        own = next(name for name, other in TASKS.items() if other is data.task)
        remedy = "" if task is CLASSIFICATION or data.name in DATA else ", or store the targets as floats, such as 3.0"
        raise ValueError(f"the data {data.name} are for {data.task.name}: use the recipe {own}{remedy}")
    network = build_network(_required(objective, "network"), data)
    device = device_of(objective.get("device", "cpu"))
    ending = loop.train(network, data, plan, seed=seed, watch=watch, device=device)
    return Outcome(ending.outcome, ending.reason)


TASKS: Mapping[str, Task] = MappingProxyType({"classifier": CLASSIFICATION, "regressor": REGRESSION})
RECIPES: Mapping[str, Recipe] = MappingProxyType({name: partial(_train, task) for name, task in TASKS.items()})


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
