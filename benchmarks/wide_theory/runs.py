"""Trials of the recipe wide-two-layer in this process: what they report after each epoch, and when they come to a loss."""

import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from training import loop, recipes
from training.course import Run
from training.watch import Nobody, Pause

# The training loss at a step is the mean over so many batches up to it.
WINDOW = 20

Values: TypeAlias = Mapping[str, float]


class _Reports(Nobody):
    """Keeps reports; stops once the training loss is at most `fits`."""

    def __init__(self, fits: float) -> None:
        self.seen: list[Values] = []
        self._fits = fits

    def report(self, step: int, values: dict[str, float]) -> None:
        del step
        self.seen.append(values)

    def between(self) -> Pause:
        return Pause.STOP if self.seen and self.seen[-1]["train_loss"] <= self._fits else Pause.NONE


def reports(options: Mapping[str, Any], *, seed: int, fits: float = 0.0) -> list[Values]:
    """Train, no longer than until the training loss of an epoch is at most `fits`; return the epochs' reports.

    Raise RuntimeError for a run that diverged.
    """
    watch = _Reports(fits)
    outcome = recipes.run({"recipe": recipes.WIDE, **options}, {}, seed=seed, watch=watch)
    if outcome.outcome == "diverged":
        raise RuntimeError(f"{dict(options)}, seed {seed}: {outcome.reason}")
    return watch.seen


@dataclass(frozen=True, slots=True)
class Passage:
    """When a training came to a loss, in steps and in epochs."""

    steps: int
    epochs: float


class Passages:
    """Notes the first step at which the training loss is at most each target."""

    def __init__(self, targets: Sequence[float]) -> None:
        self.found: dict[float, int] = {}
        self._left = sorted(targets)
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._steps = 0

    @property
    def complete(self) -> bool:
        """Whether every target was come to."""
        return not self._left

    def take(self, loss: float) -> None:
        """Take the mean loss of the next batch."""
        self._steps += 1
        self._losses.append(loss)
        recent = statistics.fmean(self._losses)
        while len(self._losses) == WINDOW and self._left and recent <= self._left[-1]:
            self.found[self._left.pop()] = self._steps


class _Listener(Nobody):
    """Hears the loss of every batch of `run`, which it is told; stops once all passages are found."""

    run: Run

    def __init__(self, passages: Passages) -> None:
        self._passages = passages
        self._before = 0.0

    def between(self) -> Pause:
        course, state = self.run.course, self.run.state
        if state.batches:  # 0 where an epoch was just reported
            first = (state.batches - 1) * course.batch_size
            examples = min(course.batch_size, len(self.run.epoch.numbers) - first)
            self._passages.take((state.total - self._before) / examples)
        self._before = state.total
        return Pause.STOP if self._passages.complete else Pause.NONE


def steps_to(targets: Sequence[float], options: Mapping[str, Any], *, seed: int) -> dict[float, Passage]:
    """Train until the training loss has come to every target, or the run is over; return when it came to each that it did."""
    given = recipes.prepare({"recipe": recipes.WIDE, **options}, {})
    passages = Passages(targets)
    watch = _Listener(passages)
    run = watch.run = loop.start(given.network, given.data, given.plan, seed=seed, watch=watch, device=given.device)
    while loop.step(run) is None:
        pass
    return {target: Passage(steps, steps / run.course.batches) for target, steps in passages.found.items()}
