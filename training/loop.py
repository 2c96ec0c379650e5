"""Training one network with one rule of the optimizer core, epoch by epoch.

The run is a function of its arguments: initial parameters and data order come from the seed alone, each from a
generator of its own, so that two networks under one seed see the same batches.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Generator, Tensor

from optim.build import build_rule
from optim.schedules import schedule
from training.data import Data
from training.networks import Network

# A run whose mean training loss over an epoch passes this multiple of the loss before training has diverged.
EXPLOSION = 10.0

Report: TypeAlias = Callable[[int, dict[str, float]], bool]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. `options` are all of the optimizer's, `lr` among them; `warmup` is a fraction of all steps."""

    optimizer: str
    options: Mapping[str, float]
    schedule: str
    schedule_options: Mapping[str, float]
    warmup: float
    batch_size: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Ending:
    """How training ended: "completed", "stopped" (the report asked for it) or "diverged", with its reason."""

    outcome: str
    reason: str | None = None


class Diverged(Exception):
    """The run left the numbers or exploded; the message says where and by how much."""


def train(network: Network, data: Data, plan: Plan, *, seed: int, report: Report) -> Ending:
    """Train on the device of `data`, reporting train_loss, val_loss and val_accuracy after each epoch from 1.

    `train_loss` is the mean loss of the epoch's examples as they were seen, `val_*` are of the parameters at its
    end. Only finite values are reported. A report that returns True ends the run.
    """
    initial, order = _generators(seed)
    device = data.train_inputs.device
    params = [param.to(device).requires_grad_() for param in network.init(initial)]
    epochs = _epochs(network, data, plan, params=params, order=order)
    limit = EXPLOSION * _evaluate(network, params, data.train_inputs, data.train_targets)[0]
    try:
        for epoch, train_loss in enumerate(epochs, start=1):
            _check(
                train_loss <= limit,
                f"epoch {epoch}: train_loss {train_loss:.4g} is over {limit:.4g}, {EXPLOSION:g} times the loss before training",
            )
            val_loss, val_accuracy = _evaluate(network, params, data.val_inputs, data.val_targets)
            _check(math.isfinite(val_loss), f"epoch {epoch}: val_loss is {val_loss}")
            if report(epoch, {"train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}):
                return Ending("stopped")
    except Diverged as diverged:
        return Ending("diverged", str(diverged))
    return Ending("completed")


def _generators(seed: int) -> tuple[Generator, Generator]:
    """Return independent generators for the initial parameters and for the data order."""
    children = torch.randint(2**62, (2,), generator=Generator().manual_seed(seed % 2**63)).tolist()
    return Generator().manual_seed(children[0]), Generator().manual_seed(children[1])


def _epochs(network: Network, data: Data, plan: Plan, *, params: list[Tensor], order: Generator) -> Iterator[float]:
    """Train `params` in place, one epoch for each value taken: its mean loss. Raise Diverged on a loss not finite."""
    rule = build_rule(plan.optimizer)
    state = rule.init(params)
    hyper = {name: torch.tensor(value, dtype=torch.float64) for name, value in plan.options.items()}
    base = hyper["lr"]
    count = len(data.train_targets)
    steps = math.ceil(count / plan.batch_size)
    factor = schedule(plan.schedule, total_steps=plan.epochs * steps, warmup=plan.warmup, **plan.schedule_options)
    for epoch in range(plan.epochs):
        shuffled = torch.randperm(count, generator=order).to(data.train_inputs.device)
        batches = zip(
            torch.split(data.train_inputs[shuffled], plan.batch_size),
            torch.split(data.train_targets[shuffled], plan.batch_size),
            (base * factor(torch.arange(epoch * steps, (epoch + 1) * steps))).unbind(),
            strict=True,
        )
        total = 0.0
        for step, (inputs, targets, lr) in enumerate(batches, start=1):
            loss = F.cross_entropy(network.apply(params, inputs), targets)
            value = loss.item()
            _check(math.isfinite(value), f"epoch {epoch + 1}, step {step}: the training loss is {value}")
            total += value * len(targets)
            grads = torch.autograd.grad(loss, params)
            with torch.no_grad():
                updates, state = rule.update(grads, state, params, {**hyper, "lr": lr})
                for param, update in zip(params, updates, strict=True):
                    param.add_(update)
        yield total / count


@torch.no_grad()
def _evaluate(network: Network, params: list[Tensor], inputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """Return mean loss and accuracy."""
    logits = network.apply(params, inputs)
    accuracy = (logits.argmax(dim=1) == targets).double().mean()
    return F.cross_entropy(logits, targets).item(), accuracy.item()


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise Diverged(message)
