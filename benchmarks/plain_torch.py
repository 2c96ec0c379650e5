"""Training as a user writes it in plain PyTorch: the peers' side of `benchmarks.population` and `benchmarks.time_to_target`.

`nn.Sequential`, `torch.optim`, batches by randperm and indexing into tensors held in memory, the validation split
evaluated after every epoch. Split, initial parameters, data order and the meaning of every parameter are those of the
recipe `classifier`, so that one seed gives the same run on both sides, to rounding.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from training.course import generators
from training.data.bundled import load
from training.data.examples import Examples

Values: TypeAlias = dict[str, float]
# Takes the values of an epoch (from 1) and says whether to stop.
Report: TypeAlias = Callable[[int, Values], bool]

DEFAULT_BATCH = 32
CPU = torch.device("cpu")
# How torch.optim may be told to step; which is faster depends on the machine and the network.
WAYS: Mapping[str, bool | None] = MappingProxyType({"default": None, "fused": True})


@dataclass(frozen=True, slots=True)
class Run:
    """One trial: an MLP with these hidden layers on digits; `params` as a study's."""

    hidden: Sequence[int]
    epochs: int
    params: Mapping[str, Any]
    seed: int


def train(run: Run, report: Report, *, way: str = "default", device: torch.device = CPU) -> str:
    """Train, and report train_loss, val_loss and val_accuracy after each epoch.

    Return "completed", "stopped" as the report asked for, or "diverged" where a loss is no number any more.
    """
    data = load("digits")
    train_part, val_part = (_tensors(part, device) for part in (data.train, data.val))
    initial, order = generators(run.seed)
    network = mlp([train_part[0].shape[1], *run.hidden, 10], initial).to(device)
    optimizer = make_optimizer(network, run.params, fused=WAYS[way])
    rates = warmup(run, examples=len(train_part[1]))
    for epoch in range(1, run.epochs + 1):
        train_loss = train_epoch(network, optimizer, train_part, run.params, rates, order)
        values = {"train_loss": train_loss, **evaluate(network, val_part)}
        if not all(map(math.isfinite, values.values())):
            return "diverged"
        if report(epoch, values):
            return "stopped"
    return "completed"


def faster_way(hidden: Sequence[int]) -> str:
    """Return the way of stepping, of WAYS, that trains such a network faster in this process, with each optimizer once."""
    torch.set_num_threads(1)
    tried = [{"optimizer": name, "lr": 1e-2, "momentum": 0.9} for name in ("sgd", "momentum", "nesterov", "adam")]
    seconds = dict.fromkeys(WAYS, 0.0)
    for params in tried:
        for way in WAYS:
            train(Run(hidden, 1, params, seed=0), lambda *_: False, way=way)
            began = time.perf_counter()
            train(Run(hidden, 3, params, seed=0), lambda *_: False, way=way)
            seconds[way] += time.perf_counter() - began
    return min(seconds, key=lambda way: seconds[way])


def mlp(widths: Sequence[int], generator: Generator) -> nn.Sequential:
    """Return linear layers with rectifiers between them; He normal weights, biases of zero."""
    layers: list[nn.Module] = []
    for place, (inputs, outputs) in enumerate(pairwise(widths)):
        last = place == len(widths) - 2
        layer = nn.Linear(inputs, outputs)
        nn.init.normal_(layer.weight, std=math.sqrt((1 if last else 2) / inputs), generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer] if last else [layer, nn.ReLU()]
    return nn.Sequential(*layers)


def make_optimizer(network: nn.Module, params: Mapping[str, Any], *, fused: bool | None) -> torch.optim.Optimizer:
    """Return torch's optimizer by our name; `fused` None leaves it to torch how to step."""
    name, lr = params["optimizer"], params["lr"]
    if name == "adam":
        return torch.optim.Adam(network.parameters(), lr=lr, fused=fused)
    momentum = params["momentum"] if name in {"momentum", "nesterov"} else 0.0
    nesterov = name == "nesterov"
    return torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, nesterov=nesterov, fused=fused)


def warmup(run: Run, *, examples: int) -> list[float]:
    """Return the learning rates of the steps that warm up, last first: the rate rises linearly and reaches its base."""
    steps = run.epochs * math.ceil(examples / run.params.get("batch_size", DEFAULT_BATCH))
    rising = math.ceil(run.params.get("warmup", 0.0) * steps - 1e-9)
    return [run.params["lr"] * step / rising for step in range(rising, 0, -1)]


def train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: tuple[Tensor, Tensor],
    params: Mapping[str, Any],
    rates: list[float],
    order: Generator,
) -> float:
    """Train one epoch, with the next of `rates` for each step while there are some; return the mean loss as seen."""
    inputs, targets = examples
    numbers = torch.randperm(len(targets), generator=order).to(inputs.device)
    total = torch.zeros((), device=inputs.device)
    for batch in torch.split(numbers, params.get("batch_size", DEFAULT_BATCH)):
        if rates:
            optimizer.param_groups[0]["lr"] = rates.pop()
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(inputs[batch]), targets[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.detach() * len(batch)
    return total.item() / len(targets)


@torch.no_grad()
def evaluate(network: nn.Module, examples: tuple[Tensor, Tensor]) -> Values:
    """Return loss and accuracy over the validation split."""
    inputs, targets = examples
    outputs = network(inputs)
    return {
        "val_loss": functional.cross_entropy(outputs, targets).item(),
        "val_accuracy": (outputs.argmax(dim=1) == targets).float().mean().item(),
    }


def _tensors(examples: Examples, device: torch.device) -> tuple[Tensor, Tensor]:
    return next(examples.to(device).blocks(len(examples)))
