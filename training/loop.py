"""Training one network with one rule of the optimizer core, batch by batch.

The run is a function of its arguments: initial parameters and data order come from the seed alone, each from a
generator of its own, so that two networks under one seed see the same batches. It may be interrupted after any batch:
one that goes on from a snapshot takes the very steps of one that was never interrupted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Generator, Tensor

from optim.build import build_rule
from optim.schedules import schedule
from optim.transform import Rule
from training.data import Data
from training.networks import Network
from training.state import Snapshot, State, fits, restore, snapshot

# A run whose mean training loss over an epoch passes this multiple of the loss before training has diverged.
EXPLOSION = 10.0


class Pause(Flag):
    """What a run is to do between two batches, if anything; to save comes before to stop."""

    NONE = 0
    SAVE = auto()
    STOP = auto()


class Watch(Protocol):
    """Who follows a run, and tells it when to save and when to stop."""

    def resume(self, fits: Callable[[Snapshot], bool]) -> Snapshot | None:
        """Return the newest snapshot that fits, to go on from it; None to begin."""

    def report(self, step: int, values: dict[str, float]) -> None:
        """Take the measurement of an epoch; all values are finite."""

    def between(self) -> Pause:
        """Say what to do now. Called after every batch and every report, so it must cost microseconds."""

    def save(self, step: int, snapshot: Snapshot) -> None:
        """Store a snapshot taken after `step` epochs were reported. Its tensors are the run's own."""


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
    """How training ended: "completed", "stopped" (the watch asked for it) or "diverged", with its reason."""

    outcome: str
    reason: str | None = None


class Diverged(Exception):
    """The run left the numbers or exploded; the message says where and by how much."""


@dataclass(frozen=True, slots=True)
class _Course:
    """What stays the same from the first batch of a run to the last."""

    network: Network
    data: Data
    plan: Plan
    rule: Rule[Any]
    hyper: Mapping[str, Tensor]
    factor: Callable[[Tensor], Tensor]

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return math.ceil(len(self.data.train_targets) / self.plan.batch_size)


def train(network: Network, data: Data, plan: Plan, *, seed: int, watch: Watch) -> Ending:
    """Train on the device of `data`, reporting train_loss, val_loss and val_accuracy after each epoch from 1.

    `train_loss` is the mean loss of the epoch's examples as they were seen, `val_*` are of the parameters at its
    end. Only finite values are reported.
    """
    course = _course(network, data, plan)
    state = _begin(course, seed=seed, watch=watch)
    try:
        while state.epoch < plan.epochs:
            if _train_epoch(course, state, watch):
                return Ending("stopped")
            watch.report(state.epoch + 1, _measure(course, state))
            state.epoch, state.batches, state.total = state.epoch + 1, 0, 0.0
            if _heed(watch, state, plan):
                return Ending("stopped")
    except Diverged as diverged:
        return Ending("diverged", str(diverged))
    return Ending("completed")


def _course(network: Network, data: Data, plan: Plan) -> _Course:
    hyper = {name: torch.tensor(value, dtype=torch.float64) for name, value in plan.options.items()}
    steps = plan.epochs * math.ceil(len(data.train_targets) / plan.batch_size)
    factor = schedule(plan.schedule, total_steps=steps, warmup=plan.warmup, **plan.schedule_options)
    return _Course(network, data, plan, build_rule(plan.optimizer), hyper, factor)


def _begin(course: _Course, *, seed: int, watch: Watch) -> State:
    """Return a run at its beginning, or where the snapshot was taken that the watch has of it."""
    initial, order = _generators(seed)
    data = course.data
    params = [param.to(data.train_inputs.device).requires_grad_() for param in course.network.init(initial)]
    state = State(params, course.rule.init(params), order.get_state())
    saved = watch.resume(partial(fits, state))
    if saved is not None:
        return restore(state, saved)
    state.limit = EXPLOSION * _evaluate(course.network, params, data.train_inputs, data.train_targets)[0]
    return state


def _generators(seed: int) -> tuple[Generator, Generator]:
    """Return independent generators for the initial parameters and for the data order."""
    children = torch.randint(2**62, (2,), generator=Generator().manual_seed(seed % 2**63)).tolist()
    return Generator().manual_seed(children[0]), Generator().manual_seed(children[1])


def _train_epoch(course: _Course, state: State, watch: Watch) -> bool:
    """Train what is left of an epoch; return whether to stop. Raise Diverged on a loss not finite."""
    data, size = course.data, course.plan.batch_size
    generator = Generator()
    generator.set_state(state.order)
    shuffled = torch.randperm(len(data.train_targets), generator=generator).to(data.train_inputs.device)
    inputs = torch.split(data.train_inputs[shuffled], size)
    targets = torch.split(data.train_targets[shuffled], size)
    first = state.epoch * course.batches
    rates = (course.hyper["lr"] * course.factor(torch.arange(first, first + course.batches))).unbind()
    for batch in range(state.batches, course.batches):
        _step(course, state, inputs[batch], targets[batch], rates[batch])
        if _heed(watch, state, course.plan):
            return True
    state.order = generator.get_state()
    return False


def _step(course: _Course, state: State, inputs: Tensor, targets: Tensor, lr: Tensor) -> None:
    """Train one batch."""
    params = state.params
    loss = F.cross_entropy(course.network.apply(params, inputs), targets)
    value = loss.item()
    state.batches += 1
    _check(math.isfinite(value), f"epoch {state.epoch + 1}, step {state.batches}: the training loss is {value}")
    state.total += value * len(targets)
    grads = torch.autograd.grad(loss, params)
    with torch.no_grad():
        updates, state.rule = course.rule.update(grads, state.rule, params, {**course.hyper, "lr": lr})
        for param, update in zip(params, updates, strict=True):
            param.add_(update)


def _heed(watch: Watch, state: State, plan: Plan) -> bool:
    """Do what the watch wants done; return whether to stop."""
    pause = watch.between()
    # A run that went on from its very end would have nothing to report.
    if Pause.SAVE in pause and state.epoch < plan.epochs:
        watch.save(state.epoch, snapshot(state))
    return Pause.STOP in pause


def _measure(course: _Course, state: State) -> dict[str, float]:
    """Return the values of the epoch just trained. Raise Diverged if they exploded or are not finite."""
    epoch, data = state.epoch + 1, course.data
    train_loss = state.total / len(data.train_targets)
    _check(
        train_loss <= state.limit,
        f"epoch {epoch}: train_loss {train_loss:.4g} is over {state.limit:.4g}, {EXPLOSION:g} times the loss before training",
    )
    val_loss, val_accuracy = _evaluate(course.network, state.params, data.val_inputs, data.val_targets)
    _check(math.isfinite(val_loss), f"epoch {epoch}: val_loss is {val_loss}")
    return {"train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}


@torch.no_grad()
def _evaluate(network: Network, params: list[Tensor], inputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """Return mean loss and accuracy."""
    logits = network.apply(params, inputs)
    accuracy = (logits.argmax(dim=1) == targets).double().mean()
    return F.cross_entropy(logits, targets).item(), accuracy.item()


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise Diverged(message)
