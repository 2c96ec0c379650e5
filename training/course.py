"""One run, apart from how its batches are stepped: how it begins, what its epochs are, what it reports and how it ends.

The run is a function of its arguments: initial parameters and data order come from the seed alone, each from a
generator of its own, so that two networks under one seed see the same batches. It may be interrupted after any batch:
one that goes on from a snapshot takes the very steps of one that was never interrupted.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from optim.precondition.layers import Layer
from optim.precondition.methods import known
from optim.precondition.plain import left_plain, notice
from optim.transform import Rule
from training.curvature import layers_of
from training.data.examples import Data, Examples
from training.evaluation import evaluate, first_loss
from training.memory import advice
from training.meter import Meter, begin_measuring, held
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
# Learning rates are computed for about so many steps at a time.
SPAN = 4096


@dataclass(frozen=True, slots=True)
class Course:
    """What stays the same from the first batch of a run to the last; `note` is to be told with a run that completes."""

    network: Network
    data: Data
    plan: Plan
    device: torch.device
    batch_size: int
    rule: Rule[Any]
    hyper: Mapping[str, Tensor]
    factor: Callable[[Tensor], Tensor]
    layers: tuple[Layer, ...] = ()
    note: str | None = None

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return math.ceil(len(self.data.train) / self.batch_size)


@dataclass(frozen=True, slots=True)
class Epoch:
    """The order of an epoch's examples, the learning rate of each of its batches, and the generator's state after it."""

    numbers: Tensor
    rates: Tensor
    order: Tensor


@dataclass(slots=True)
class Findings:
    """What is found of a run's curvature behind its last batch: values by name, and notes on what could not be had.

    `pieces` is the work still under way, None before it began.
    """

    values: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pieces: Iterator[None] | None = None
    done: bool = False


class Stepper(Protocol):
    """Steps the batches of a run in a way of its own."""

    def step(self, run: "Run", numbers: Tensor, lr: float) -> Tensor:
        """Train a batch; return the losses of its examples (B,)."""

    def end_epoch(self, run: "Run") -> dict[str, float]:
        """Return what the epoch's steps came to, by name."""


@dataclass(slots=True, eq=False)
class Run:
    """A run under way: where it stands, who follows it, and the epoch it is in. One object for each run."""

    course: Course
    state: State
    watch: Watch
    epoch: Epoch = field(init=False)
    findings: Findings = field(default_factory=Findings)
    stepper: Stepper | None = None
    _span: tuple[int, Tensor] | None = None

    def __post_init__(self) -> None:
        """Begin where the state stands."""
        self.enter_epoch()

    @property
    def looks_back(self) -> bool:
        """Whether it stands behind its last batch, and its plan wants something of its curvature that is still to be found."""
        course, state = self.course, self.state
        if not course.plan.curvature or self.findings.done:
            return False
        return state.batches == course.batches and state.epoch + 1 == course.plan.until

    def enter_epoch(self) -> None:
        """Draw the epoch that the state is in, the same however often it is asked for."""
        course, state = self.course, self.state
        generator = Generator()
        generator.set_state(state.order)
        numbers = torch.randperm(len(course.data.train), generator=generator)
        rates = course.hyper["lr"] * (self._factors() * course.plan.held(state.plateau))
        self.epoch = Epoch(numbers, rates, generator.get_state())

    def _factors(self) -> Tensor:
        """Return the factors on the rate for the epoch's batches. They are computed for whole spans of epochs.

        Spans lie alike in every attempt: a factor computed in another vector may differ in its last bit.
        """
        batches = self.course.batches
        epochs = max(1, SPAN // batches)
        span, within = divmod(self.state.epoch, epochs)
        if self._span is None or self._span[0] != span:
            first, steps = span * epochs * batches, self.course.plan.epochs * batches
            self._span = span, self.course.factor(torch.arange(first, min(first + epochs * batches, steps)))
        return self._span[1][within * batches : (within + 1) * batches]


def needs_less(course: Course) -> str:
    """Say what to try where a batch of such a run did not fit into memory."""
    return advice(course.batch_size, whole=course.plan.common["batch_mode"] == "full")


def set_out(network: Network, data: Data, plan: Plan, *, device: torch.device) -> Course:
    """Return the course of a run. Raise ValueError for a plan that does not go with the data."""
    size = plan.batch_size(len(data.train))
    steps = plan.epochs * math.ceil(len(data.train) / size)
    layers = known(plan.optimizer, layers_of(network, data)) if plan.preconditions else ()
    rule, hyper, factor = plan.rule(layers), plan.hyper(steps), plan.factor(steps)
    note = notice(plan.optimizer, left_plain(plan.optimizer, layers, network.names)) if plan.preconditions else None
    return Course(network, data.to(device), plan, device, size, rule, hyper, factor, layers, note)


def begin(course: Course, *, seed: int, watch: Watch) -> State:
    """Return a run at its beginning, or where the snapshot was taken that the watch has of it.

    Hyperparameters are the plan's own, whatever they were up to the snapshot. Raise ValueError for a plan that goes on
    from another run's checkpoint if there is none.
    """
    meter = None if course.plan.measured is None else Meter(before=begin_measuring(course.device))
    initial, order = generators(seed)
    params = [param.to(course.device).requires_grad_() for param in course.network.init(initial)]
    state = State(params, course.rule.init(params), order.get_state(), course.plan.plateau(), meter=meter)
    saved = watch.resume(partial(fits, state))
    if saved is not None:
        return restore(state, saved)
    if course.plan.begins:
        raise ValueError(
            f"its parent's checkpoint of epoch {course.plan.begins} is not in the folder of checkpoints, or not whole; "
            "workers on several hosts must share that folder (TUNEUP_CHECKPOINTS)"
        )
    state.initial = first_loss(course.network, course.data, params)
    return state


def generators(seed: int) -> tuple[Generator, Generator]:
    """Return independent generators for the initial parameters and for the data order."""
    children = torch.randint(2**62, (2,), generator=Generator().manual_seed(seed % 2**63)).tolist()
    return Generator().manual_seed(children[0]), Generator().manual_seed(children[1])


def take_loss(state: State, loss: float, *, examples: int) -> None:
    """Take the mean loss of a batch of so many examples. Raise Diverged if it is no number or has run away."""
    exploded = math.isfinite(loss) and state.gauges.explodes(loss, limit=explosion_limit(state), batch_size=examples)
    if exploded or not math.isfinite(loss):
        raise Diverged(broken(state, loss))
    state.total += loss * examples


def broken(state: State, loss: float) -> str:
    """Say how a run has diverged in the batch at which it stands, whose mean loss was this."""
    where = f"epoch {state.epoch + 1}, step {state.batches + 1}: the training loss"
    return f"{where}, {_excess(state)}" if math.isfinite(loss) else f"{where} is {loss}"


def explosion_limit(state: State) -> float:
    """Return the loss over which a run has diverged if it finds no way back."""
    return EXPLOSION * max(state.initial, LEAST_LOSS)


def validated(course: Course, state: State) -> dict[str, float]:
    """Return how well the run's parameters do on the validation part, by name."""
    return tried(course, state, course.data.val)


def tried(course: Course, state: State, examples: Examples) -> dict[str, float]:
    """Return how well the run's parameters do on these examples, by name."""
    with torch.no_grad():
        params = course.rule.evaluated(state.params, state.rule, course.hyper)
    return evaluate(course.network, course.data, params, examples)


def end_epoch(run: Run, found: Mapping[str, float]) -> None:
    """Report the epoch just trained, which `validated` found to do so well, and go to the next.

    Raise Diverged for values that are not finite.
    """
    course, state = run.course, run.state
    values = _values(course, state, found)
    values |= _measures(course, state, values) | run.findings.values
    values |= {} if run.stepper is None else run.stepper.end_epoch(run)
    notice = state.gauges.vanishing() if values["train_loss"] > UNLEARNED * state.initial else None
    run.watch.report(state.epoch + 1, values)
    state.order = run.epoch.order
    state.epoch, state.batches, state.total = state.epoch + 1, 0, 0.0
    state.gauges = state.gauges.next_epoch(notice)
    state.plateau = course.plan.after_epoch(state.plateau, values["val_loss"])


def obey(run: Run, pause: Pause) -> bool:
    """Do what the run's watch wanted; return whether to stop."""
    # A run that went on from its very end would have nothing to report.
    if Pause.SAVE in pause and run.state.epoch < run.course.plan.until:
        run.watch.save(run.state.epoch, snapshot(run.state))
    return Pause.STOP in pause


def conclude(run: Run) -> Ending:
    """Return how a run ended that trained its last epoch; one that others may go on from leaves a checkpoint.

    Its state must be its own. Raise Diverged as `ending` does.
    """
    ended = ending(run.course, run.state)
    notes = [note for note in (ended.reason, run.course.note, *run.findings.notes) if note is not None]
    if run.course.plan.hands_on:
        run.watch.save(run.state.epoch, snapshot(run.state))
    return Ending(ended.outcome, "; ".join(notes) or None)


def ending(course: Course, state: State) -> Ending:
    """Return how a run ended that trained all its epochs. Raise Diverged where its loss stands over the limit."""
    if state.gauges.over:
        raise Diverged(f"at the end the training loss, {_excess(state)}")
    told = state.gauges.vanished >= min(VANISHED_EPOCHS, course.plan.epochs)
    return Ending("completed", state.gauges.notice if told else None)


def _values(course: Course, state: State, found: Mapping[str, float]) -> dict[str, float]:
    """Return the values of the epoch just trained. Raise Diverged if they are not finite."""
    if not math.isfinite(found["loss"]):
        raise Diverged(f"epoch {state.epoch + 1}: val_loss is {found['loss']}")
    train_loss = state.total / len(course.data.train)
    return {
        "train_loss": train_loss,
        **{f"val_{name}": value for name, value in found.items()},
        **state.gauges.values(),
    }


def _measures(course: Course, state: State, values: Mapping[str, float]) -> dict[str, float]:
    """Return what the run has cost, and come to on the test part at its best epoch, if that is measured."""
    measured, meter = course.plan.measured, state.meter
    if measured is None or meter is None:
        return {}
    meter.take(measured, values, device=course.device)
    if course.data.test is not None and meter.tests(values["val_loss"]):
        tested = tried(course, state, course.data.test)
        meter.tested = {f"test_{name}": value for name, value in tested.items()}
    return meter.values(held(state.rule))


def _excess(state: State) -> str:
    return (
        f"{state.gauges.smoothed:.4g} on average, went over {explosion_limit(state):.4g}, {EXPLOSION:g} times the loss before "
        "training, and did not come back: try a lower learning rate or a warm-up"
    )
