"""What a trial can run, by name, and how an objective and a trial's parameters become a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from optim.sparse.settings import Wide
from training import loop
from training.channel import Outcome
from training.data.bundled import DATA
from training.data.examples import Data
from training.data.folder import find
from training.data.splitting import hold_out
from training.networks.base import Network
from training.networks.table import build_network
from training.plan import SPARSE_SGD, Plan, Values, plan_of
from training.posthoc.table import check_uses
from training.precision import DEFAULT_PRECISION, check_precision, in_precision, products_in
from training.tasks import CLASSIFICATION, REGRESSION, Task
from training.threads import on_threads
from training.watch import Watch
from training.wide.network import on_sphere, threads_worth, two_layer


class NoDevice(RuntimeError):
    """This host lacks the device that an objective asks for: no fault of the trial's."""


TASKS: Mapping[str, Task] = MappingProxyType({"classifier": CLASSIFICATION, "regressor": REGRESSION})
# Its data say whether it classifies.
WIDE = "wide-two-layer"
RECIPES = (*TASKS, WIDE)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a trial trains: a network, as it is applied in a precision, on data by a plan, on a device."""

    network: Network
    data: Data
    plan: Plan
    device: torch.device
    precision: str = DEFAULT_PRECISION


def run(
    objective: Values, params: Values, *, seed: int, watch: Watch, folder: Path | None = None, threads: int = 1
) -> Outcome:
    """Run the objective's recipe with a trial's parameters; `watch` follows it and may stop it.

    After each epoch it reports what `loop.train` measures. A wide network is trained on as many of `threads` as pay, all
    others on one. Raise as `prepare` does.
    """
    given = prepare(objective, params, folder=folder)
    with products_in(given.precision), on_threads(_worth(given, threads)):
        ending = loop.train(given.network, given.data, given.plan, seed=seed, watch=watch, device=given.device)
    return Outcome(ending.outcome, ending.reason)


def prepare(objective: Values, params: Values, *, folder: Path | None = None) -> Prepared:
    """Return what the objective's recipe trains with a trial's parameters.

    Data that are not bundled are looked for in `folder`. Values of None count as absent. Raise ValueError for anything
    that cannot be run, naming what is valid, and NoDevice.
    """
    name: Any = objective.get("recipe")
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; valid: {', '.join(RECIPES)}")
    objective = ({"optimizer": SPARSE_SGD} if name == WIDE else {}) | _present(objective)
    plan = plan_of(objective, _present(params))
    if (plan.wide is None) == (name == WIDE):
        raise ValueError(f"{SPARSE_SGD} trains the recipe {WIDE} alone, and that is trained by nothing else")
    data = find(_required(objective, "data"), folder)
    if plan.wide is not None:
        return _prepare_wide(objective, plan, plan.wide, data)
    _check_task(data, name)
    data = data if plan.measured is None else hold_out(data, plan.measured.test)
    plan = replace(plan, curvature=check_uses(objective.get("curvature", []), data.task))
    network = build_network(_required(objective, "network"), data)
    device, precision = (
        device_of(objective.get("device", "cpu")),
        check_precision(objective.get("precision", DEFAULT_PRECISION)),
    )
    return Prepared(in_precision(network, precision, device), data, plan, device, precision)


def _prepare_wide(objective: Values, plan: Plan, wide: Wide, data: Data) -> Prepared:
    for name, only in (("device", "cpu"), ("precision", DEFAULT_PRECISION)):
        if objective.get(name, only) != only:
            raise ValueError(
                f"objective.{name}: sparse steps are taken in {DEFAULT_PRECISION} on a CPU, got {objective[name]!r}"
            )
    data = on_sphere(data if plan.measured is None else hold_out(data, plan.measured.test), wide)
    return Prepared(two_layer(wide, data), data, plan, device_of("cpu"))


def _worth(given: Prepared, threads: int) -> int:
    wide, data = given.plan.wide, given.data
    return (
        1 if wide is None else threads_worth(wide, data.features, given.plan.batch_size(len(data.train)), most=threads)
    )


def _check_task(data: Data, recipe: str) -> None:
    task = TASKS[recipe]
    if data.task is not task:
        own = next(name for name, other in TASKS.items() if other is data.task)
        remedy = "" if task is CLASSIFICATION or data.name in DATA else ", or store the targets as floats, such as 3.0"
        raise ValueError(f"the data {data.name} are for {data.task.name}: use the recipe {own}{remedy}")


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
