"""How long whole trainings take, the building of lists included: lists, our own choice, and the best dense form.

Digits, even against odd: centered, on the unit sphere, targets 1 and -1, the last fifth for testing. And cases in which
lists lose. The contenders take turns, epoch by epoch.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from benchmarks.sparse.contenders import DENSE_FORMS, Problem, Step, problem, stepped, trainer
from benchmarks.sparse.steps import apart, best_dense, clock, in_turn
from optim.sparse.sphere import Sphere
from optim.sparse.trainer import SparseSgd

OURS = ("lists", "auto")
DENSE = "dense"


@dataclass(frozen=True, slots=True)
class Case:
    """A training: on which data, how wide, in what batches, at what rate, for how many epochs; sqrt(0.4 ln m) without a threshold."""

    data: str
    width: int
    batch: int
    lr: float
    epochs: int
    threshold: float | None = None


DIGITS = [
    Case("digits", width, batch, lr, epochs)
    for width in (20_000, 100_000)
    for batch, lr, epochs in ((1, 5.0, 3), (16, 20.0, 3), (128, 100.0, 6))
]
LOSING: Mapping[str, Case] = {
    "aggressive rate": Case("digits", 20_000, 1, 60.0, 3),
    "one pass": Case("digits", 100_000, 16, 20.0, 1),
    "one pass, large batches": Case("digits", 100_000, 128, 100.0, 1),
    "narrow": Case("digits", 2_000, 16, 20.0, 3),
    "threshold 0": Case("digits", 20_000, 16, 20.0, 3, threshold=0.0),
    "random, rate 200": Case("random", 20_000, 16, 200.0, 3),
}


@dataclass(slots=True)
class Run:
    """A contender's training so far: the problem with its weights, seconds, and each epoch's losses."""

    given: Problem
    step: Step
    now: Callable[[], float]
    seconds: float
    losses: list[Tensor] = field(default_factory=list)

    def epoch(self, batches: Sequence[Tensor]) -> None:
        """Train on these."""
        began = self.now()
        taken = [self.step(numbers) for numbers in batches]
        self.seconds += self.now() - began
        self.losses.append(torch.cat(taken))


@dataclass(frozen=True, slots=True)
class Trained:
    """Seconds and test accuracies of a case by contender, and what our trainers did for it.

    `building` seconds and `refreshed` rows, by epoch and neuron, are those of lists; `chosen` and `slack` those of auto.
    `form` is the dense form that the first steps found the fastest.
    """

    case: Case
    threads: int
    seconds: Mapping[str, float]
    accuracies: Mapping[str, float]
    form: str
    chosen: str
    slack: float
    building: float
    refreshed: float
    apart: float

    @property
    def gain(self) -> float:
        """The time of the best dense form over that of lists."""
        return self.seconds[DENSE] / self.seconds["lists"]

    @property
    def gain_chosen(self) -> float:
        """The time of the best dense form over that of `auto`."""
        return self.seconds[DENSE] / self.seconds["auto"]

    @property
    def choice(self) -> float:
        """The time of lists or the best dense form, whichever is better, over that of `auto`."""
        return min(self.seconds["lists"], self.seconds[DENSE]) / self.seconds["auto"]


@cache
def data(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return inputs on the sphere and targets to train on, and the same to test with."""
    generator = torch.Generator().manual_seed(0)
    if name == "digits":
        raw, digits = load_digits(return_X_y=True)
        inputs, targets = torch.tensor(raw, dtype=torch.float32), torch.tensor(digits) % 2 * 2.0 - 1.0
    else:
        inputs = torch.randn(2048, 32, generator=generator)
        targets = (inputs[:, 0] * inputs[:, 1]).sign()
    order = torch.randperm(len(inputs), generator=generator)
    kept, tested = order[: (4 * len(order)) // 5], order[(4 * len(order)) // 5 :]
    sphere = Sphere.of(inputs[kept], centered=True)
    (own, _), (others, _) = sphere.project(inputs[kept]), sphere.project(inputs[tested])
    return own, targets[kept], others, targets[tested]


def trained(case: Case, threads: int) -> Trained:
    """Train everybody."""
    inputs, targets, others, wanted = data(case.data)
    given = problem(case.width, inputs, targets, lr=case.lr, threshold=case.threshold)
    form = best_dense(given, case.batch, threads=threads)
    ours = {way: _ours(case, given.copied, way, threads) for way in OURS}
    building = ours["lists"][0].seconds
    runs = {way: run for way, (run, _) in ours.items()} | {DENSE: _dense(given.copied, form, clock(threads))}
    for turn, batches in enumerate(_epochs(case, len(inputs))):
        for name in in_turn(list(runs), turn):
            runs[name].epoch(batches)
    lists, auto = (ours[way][1] for way in OURS)
    return Trained(
        case,
        threads,
        seconds={name: run.seconds for name, run in runs.items()},
        accuracies={name: run.given.accuracy(others, wanted) for name, run in runs.items()},
        form=form,
        chosen=auto.way,
        slack=auto.slack,
        building=building,
        refreshed=lists.counters.refreshed / case.width / case.epochs,
        apart=apart({name: run.losses for name, run in runs.items()}),
    )


def _dense(given: Problem, form: str, now: Callable[[], float]) -> Run:
    step = DENSE_FORMS[form](given)
    return Run(given, step, now, 0.0)


def _ours(case: Case, given: Problem, way: str, threads: int) -> tuple[Run, SparseSgd]:
    now = clock(threads)
    began = now()
    steps = case.epochs * math.ceil(len(given.inputs) / case.batch)
    own = trainer(given, way, steps=steps, threads=threads)
    return Run(given, stepped(given, own), now, now() - began), own


def _epochs(case: Case, examples: int) -> Iterator[Sequence[Tensor]]:
    generator = torch.Generator().manual_seed(2)
    for _ in range(case.epochs):
        yield torch.split(torch.randperm(examples, generator=generator), case.batch)
