"""Training one network with one rule of the optimizer core, batch by batch.

The run is a function of its arguments: initial parameters and data order come from the seed alone, each from a
generator of its own, so that two networks under one seed see the same batches. It may be interrupted after any batch:
one that goes on from a snapshot takes the very steps of one that was never interrupted.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from functools import partial
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from optim.transform import Rule
from training.data.examples import Data, Examples
from training.memory import SMALLER, advice, advising, is_out_of_memory
from training.monitors import SAMPLED, VANISHED_EPOCHS
from training.networks.base import Network
from training.plan import Plan
from training.state import Snapshot, State, fits, restore, snapshot

# A run whose training loss goes over this multiple of the loss before training and finds no way back has diverged.
EXPLOSION = 10.0
# A loss before training that is smaller than this counts as this.
LEAST_LOSS = 0.01
# One whose training loss is over this share of it has hardly learned.
UNLEARNED = 0.5
# So many examples are evaluated at a time, and fewer where they are large.
BLOCK = 8192
BLOCK_NUMBERS = 2**18
CPU = torch.device("cpu")


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
    device: torch.device
    batch_size: int
    rule: Rule[Any]
    hyper: Mapping[str, Tensor]
    factor: Callable[[Tensor], Tensor]

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return math.ceil(len(self.data.train) / self.batch_size)


def train(network: Network, data: Data, plan: Plan, *, seed: int, watch: Watch, device: torch.device = CPU) -> Ending:
    """Train on `device`, and report after each epoch from 1: train_loss, val_loss, the task's measures as val_*, gauges.

    `train_loss` is the mean loss of the epoch's examples as they were seen, `val_*` are of the parameters at its
    end, `grad_norm` and `update_ratio` are means over steps of the epoch. Only finite values are reported. Raise
    OutOfMemory, with what to try, and ValueError for a plan that does not go with the data.
    """
    with advising(f"the network did not fit: {SMALLER}"):
        course = _course(network, data.to(device), plan, device)
        try:
            return _run(course, _begin(course, seed=seed, watch=watch), watch)
        except Diverged as diverged:
            return Ending("diverged", str(diverged))


def _run(course: _Course, state: State, watch: Watch) -> Ending:
    vanishing = None
    while state.epoch < course.plan.epochs:
        if _train_epoch(course, state, watch):
            return Ending("stopped")
        values = _measure(course, state)
        vanishing = state.gauges.vanishing() if values["train_loss"] > UNLEARNED * state.initial else None
        state.gauges.vanished = state.gauges.vanished + 1 if vanishing else 0
        watch.report(state.epoch + 1, values)
        _turn(course, state, values["val_loss"])
        if _heed(watch, state, course.plan):
            return Ending("stopped")
    _check(not state.gauges.over, f"at the end the training loss, {_excess(state)}")
    told = state.gauges.vanished >= min(VANISHED_EPOCHS, course.plan.epochs)
    return Ending("completed", vanishing if told else None)


def _course(network: Network, data: Data, plan: Plan, device: torch.device) -> _Course:
    size = plan.batch_size(len(data.train))
    steps = plan.epochs * math.ceil(len(data.train) / size)
    return _Course(network, data, plan, device, size, plan.rule(), plan.hyper(steps), plan.factor(steps))


def _begin(course: _Course, *, seed: int, watch: Watch) -> State:
    """Return a run at its beginning, or where the snapshot was taken that the watch has of it."""
    initial, order = _generators(seed)
    params = [param.to(course.device).requires_grad_() for param in course.network.init(initial)]
    state = State(params, course.rule.init(params), order.get_state(), course.plan.plateau())
    saved = watch.resume(partial(fits, state))
    if saved is not None:
        return restore(state, saved)
    state.initial = _evaluate(course, params, course.data.train, most_blocks=1)["loss"]
    return state


def _turn(course: _Course, state: State, val_loss: float) -> None:
    """Begin the next epoch."""
    state.epoch, state.batches, state.total = state.epoch + 1, 0, 0.0
    state.gauges = state.gauges.next_epoch()
    state.plateau = course.plan.after_epoch(state.plateau, val_loss)


def _generators(seed: int) -> tuple[Generator, Generator]:
    """Return independent generators for the initial parameters and for the data order."""
    children = torch.randint(2**62, (2,), generator=Generator().manual_seed(seed % 2**63)).tolist()
    return Generator().manual_seed(children[0]), Generator().manual_seed(children[1])


def _train_epoch(course: _Course, state: State, watch: Watch) -> bool:
    """Train what is left of an epoch; return whether to stop. Raise Diverged on a loss not finite."""
    generator = Generator()
    generator.set_state(state.order)
    examples = course.data.train
    batches = torch.split(torch.randperm(len(examples), generator=generator), course.batch_size)
    first = state.epoch * course.batches
    factors = course.factor(torch.arange(first, first + course.batches)) * course.plan.held(state.plateau)
    rates = (course.hyper["lr"] * factors).unbind()
    needs = advice(course.batch_size, whole=course.plan.common["batch_mode"] == "full")
    for batch in range(state.batches, course.batches):
        with advising(needs):
            _step(course, state, *examples.rows(batches[batch]), rates[batch])
        if _heed(watch, state, course.plan):
            return True
    state.order = generator.get_state()
    return False


def _step(course: _Course, state: State, inputs: Tensor, targets: Tensor, lr: Tensor) -> None:
    """Train one batch."""
    params = state.params
    loss = course.data.task.losses(course.network.apply(params, inputs), targets).mean()
    value = loss.item()
    _check_loss(state, value, batch_size=len(targets))
    state.total += value * len(targets)
    grads = torch.autograd.grad(loss, params)
    with torch.no_grad():
        updates, state.rule = course.rule.update(grads, state.rule, params, {**course.hyper, "lr": lr})
        if state.batches % SAMPLED == 0:
            state.gauges.sample(params, grads, updates)
        for param, update in zip(params, updates, strict=True):
            param.add_(update)
    state.batches += 1


def _check_loss(state: State, value: float, *, batch_size: int) -> None:
    """Raise Diverged for a loss that is no number, or when the smoothed loss has run away."""
    where = f"epoch {state.epoch + 1}, step {state.batches + 1}"
    _check(math.isfinite(value), f"{where}: the training loss is {value}")
    explodes = state.gauges.explodes(value, limit=_limit(state), batch_size=batch_size)
    _check(not explodes, f"{where}: the training loss, {_excess(state)}")


def _limit(state: State) -> float:
    return EXPLOSION * max(state.initial, LEAST_LOSS)


def _excess(state: State) -> str:
    return (
        f"{state.gauges.smoothed:.4g} on average, went over {_limit(state):.4g}, {EXPLOSION:g} times the loss before "
        "training, and did not come back: try a lower learning rate or a warm-up"
    )


def _heed(watch: Watch, state: State, plan: Plan) -> bool:
    """Do what the watch wants done; return whether to stop."""
    pause = watch.between()
    # A run that went on from its very end would have nothing to report.
    if Pause.SAVE in pause and state.epoch < plan.epochs:
        watch.save(state.epoch, snapshot(state))
    return Pause.STOP in pause


def _measure(course: _Course, state: State) -> dict[str, float]:
    """Return the values of the epoch just trained. Raise Diverged if they are not finite."""
    train_loss = state.total / len(course.data.train)
    with torch.no_grad():
        params = course.rule.evaluated(state.params, state.rule, course.hyper)
    means = _evaluate(course, params, course.data.val)
    _check(math.isfinite(means["loss"]), f"epoch {state.epoch + 1}: val_loss is {means['loss']}")
    validated = {f"val_{name}": value for name, value in means.items()}
    return {"train_loss": train_loss, **validated, **state.gauges.values()}


def _evaluate(
    course: _Course, params: list[Tensor], examples: Examples, *, most_blocks: int | None = None
) -> dict[str, float]:
    """Return the means over the examples, taken in blocks that become smaller until they fit into memory."""
    size = max(1, min(BLOCK, BLOCK_NUMBERS // course.data.features))
    while True:
        try:
            return _means(course, params, islice(examples.blocks(size), most_blocks))
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            size //= 2


@torch.no_grad()
def _means(course: _Course, params: list[Tensor], blocks: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Return the mean loss and the mean of each measure of the task."""
    task = course.data.task
    measures = {"loss": task.losses, **task.measures}
    sums, count = dict.fromkeys(measures, 0.0), 0
    for inputs, targets in blocks:
        outputs = course.network.apply(params, inputs)
        count += len(targets)
        for name, measure in measures.items():
            sums[name] += measure(outputs, targets).double().sum().item()
    return {name: total / count for name, total in sums.items()}


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise Diverged(message)
