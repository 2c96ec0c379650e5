"""One run, apart from how its batches are stepped: how it begins, what its epochs are, what it reports and how it ends.

The run is a function of its arguments: initial parameters and data order come from the seed alone, each from a
generator of its own, so that two networks under one seed see the same batches. It may be interrupted after any batch:
one that goes on from a snapshot takes the very steps of one that was never interrupted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from optim.transform import Rule
from training.data.examples import Data
from training.evaluation import evaluate
from training.monitors import VANISHED_EPOCHS
from training.networks.base import Network
from training.plan import Plan
from training.state import State, fits, restore, snapshot
from training.watch import Diverged, Ending, Pause, Watch

# A run whose training loss goes over this multiple of the loss before training and finds no way back has diverged.
EXPLOSION = 10.0
# A loss before training that is smaller than this counts as this.
LEAST_LOSS = 0.01
# One whose training loss is over this share of it has hardly learned.
UNLEARNED = 0.5


@dataclass(frozen=True, slots=True)
class Course:
    """What stays the same from the first batch of a run to the last."""

    network: Network
    data: Data
    plan: Plan
    device: torch.device
    batch_size: int
    rule: Rule[Any]
    hyper: Mapping[str, Tensor]
    factor: Callable[[Tensor], Tensor]

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return math.ceil(len(self.data.train) / self.batch_size)


@dataclass(frozen=True, slots=True)
class Epoch:
    """The batches of an epoch, as numbers of examples, with the learning rate of each, and the generator's state after."""

    batches: tuple[Tensor, ...]
    rates: tuple[Tensor, ...]
    order: Tensor


def set_out(network: Network, data: Data, plan: Plan, *, device: torch.device) -> Course:
    """Return the course of a run. Raise ValueError for a plan that does not go with the data."""
    size = plan.batch_size(len(data.train))
    steps = plan.epochs * math.ceil(len(data.train) / size)
    return Course(network, data.to(device), plan, device, size, plan.rule(), plan.hyper(steps), plan.factor(steps))


def begin(course: Course, *, seed: int, watch: Watch) -> State:
    """Return a run at its beginning, or where the snapshot was taken that the watch has of it."""
    initial, order = generators(seed)
    params = [param.to(course.device).requires_grad_() for param in course.network.init(initial)]
    state = State(params, course.rule.init(params), order.get_state(), course.plan.plateau())
    saved = watch.resume(partial(fits, state))
    if saved is not None:
        return restore(state, saved)
    state.initial = evaluate(course.network, course.data, params, course.data.train, most_blocks=1)["loss"]
    return state


def generators(seed: int) -> tuple[Generator, Generator]:
    """Return independent generators for the initial parameters and for the data order."""
    children = torch.randint(2**62, (2,), generator=Generator().manual_seed(seed % 2**63)).tolist()
    return Generator().manual_seed(children[0]), Generator().manual_seed(children[1])


def epoch_of(course: Course, state: State) -> Epoch:
    """Return the epoch that the run is in, the same however often it is asked for."""
    generator = Generator()
    generator.set_state(state.order)
    numbers = torch.randperm(len(course.data.train), generator=generator)
    first = state.epoch * course.batches
    factors = course.factor(torch.arange(first, first + course.batches)) * course.plan.held(state.plateau)
    return Epoch(
        batches=torch.split(numbers, course.batch_size),
        rates=(course.hyper["lr"] * factors).unbind(),
        order=generator.get_state(),
    )


def take_loss(state: State, loss: float, *, examples: int) -> None:
    """Take the mean loss of a batch of so many examples. Raise Diverged if it is no number or has run away."""
    if not math.isfinite(loss):
        raise Diverged(f"{_where(state)}: the training loss is {loss}")
    if state.gauges.explodes(loss, limit=_limit(state), batch_size=examples):
        raise Diverged(f"{_where(state)}: the training loss, {_excess(state)}")
    state.total += loss * examples


def end_epoch(course: Course, state: State, watch: Watch, *, order: Tensor) -> None:
    """Measure the epoch just trained, report it and begin the next. Raise Diverged for values that are not finite."""
    values = _measure(course, state)
    notice = state.gauges.vanishing() if values["train_loss"] > UNLEARNED * state.initial else None
    watch.report(state.epoch + 1, values)
    state.order = order
    state.epoch, state.batches, state.total = state.epoch + 1, 0, 0.0
    state.gauges = state.gauges.next_epoch(notice)
    state.plateau = course.plan.after_epoch(state.plateau, values["val_loss"])


def heed(watch: Watch, state: State, plan: Plan) -> bool:
    """Do what the watch wants done; return whether to stop."""
    return obey(watch.between(), watch, state, plan)


def obey(pause: Pause, watch: Watch, state: State, plan: Plan) -> bool:
    """Do what the watch wanted; return whether to stop."""
    # A run that went on from its very end would have nothing to report.
    if Pause.SAVE in pause and state.epoch < plan.epochs:
        watch.save(state.epoch, snapshot(state))
    return Pause.STOP in pause


def ending(course: Course, state: State) -> Ending:
    """Return how a run ended that trained all its epochs. Raise Diverged where its loss stands over the limit."""
    if state.gauges.over:
        raise Diverged(f"at the end the training loss, {_excess(state)}")
    told = state.gauges.vanished >= min(VANISHED_EPOCHS, course.plan.epochs)
    return Ending("completed", state.gauges.notice if told else None)


def _measure(course: Course, state: State) -> dict[str, float]:
    """Return the values of the epoch just trained. Raise Diverged if they are not finite."""
    train_loss = state.total / len(course.data.train)
    with torch.no_grad():
        params = course.rule.evaluated(state.params, state.rule, course.hyper)
    found = evaluate(course.network, course.data, params, course.data.val)
    if not math.isfinite(found["loss"]):
        raise Diverged(f"epoch {state.epoch + 1}: val_loss is {found['loss']}")
    validated = {f"val_{name}": value for name, value in found.items()}
    return {"train_loss": train_loss, **validated, **state.gauges.values()}


def _where(state: State) -> str:
    return f"epoch {state.epoch + 1}, step {state.batches + 1}"


def _limit(state: State) -> float:
    return EXPLOSION * max(state.initial, LEAST_LOSS)


def _excess(state: State) -> str:
    return (
        f"{state.gauges.smoothed:.4g} on average, went over {_limit(state):.4g}, {EXPLOSION:g} times the loss before "
        "training, and did not come back: try a lower learning rate or a warm-up"
    )
