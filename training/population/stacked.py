"""Members stepped by tensor operations for all at once: on any device, for any network that stacks."""

import time
from collections.abc import Callable, Container, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.course import Run
from training.data.examples import Data
from training.monitors import SAMPLED, look
from training.networks.base import Network, Params
from training.population.costs import Clock
from training.population.evaluation import evaluate_members
from training.population.programs import STRIDE_SECONDS, Taken
from training.population.stacks import Shapes, Stacks, views
from training.population.strides import MOST_STEPS, Stride, lay_out
from training.population.threads import Threads
from training.tasks import Slope


class StackedProgram:
    """Forward and backward for all members at once, then one call of each crew's rule."""

    choosy = False

    def __init__(self, network: Network, data: Data, clock: Clock, threads: Threads) -> None:
        """`data` is on the device that members are on. `clock` is told how long steps take, `threads` says with how many."""
        self._data, self._clock, self._threads = data, clock, threads
        self._outputs = network.stacked
        self._slopes = network.slopes or self._by_autograd

    def step(self, stacks: Stacks, still: Container[Run], taken: Taken) -> None:
        del still
        runs = stacks.runs
        size = max(run.course.batch_size for run in runs)
        about = self.step_seconds(len(runs), size)
        stride = lay_out(runs, most=max(1, min(MOST_STEPS, int(STRIDE_SECONDS / about))) if about else 1)
        examples = len(runs) * stride.size
        workers, settled = self._threads.wanted(examples), self._threads.settled(examples)
        torch.set_num_threads(workers)
        began = time.perf_counter()
        self._take(stacks, stride, _due(runs, stride.steps), taken)
        if stacks.rows.device.type == "cuda":
            torch.cuda.synchronize(stacks.rows.device)  # until here steps have only been asked for
        took = (time.perf_counter() - began) / stride.steps
        self._threads.take(examples, workers, took, steps=stride.steps)
        # The last batch of an epoch may be smaller, and tells nothing of the others.
        if settled and stride.size == size:
            self._clock.take(len(runs), size, took, steps=stride.steps)

    def step_seconds(self, members: int, size: int) -> float:
        return self._clock.about(members, size)

    @torch.no_grad()
    def _take(self, stacks: Stacks, stride: Stride, due: NDArray[np.bool_], taken: Taken) -> None:
        rows = stacks.rows
        taken.counts = taken.lasts = stride.counts.numpy()
        weights = stride.weights.to(rows.device, rows.dtype)
        move = _mover(stacks, stride.rates.to(rows.device))
        for step in range(stride.steps):
            losses = self._losses(stacks, stride.numbers[step], weights)
            # A step may overwrite gradients, and always does parameters.
            kept = (rows.clone(), stacks.grads.clone()) if due[step].any() else None
            move(step)
            taken.losses.append(losses.unsqueeze(0))
            taken.steps += 1
            if kept is not None:
                taken.looks.append((_seen(stacks, *kept), due[step].astype(int)))

    def evaluate(self, rows: Tensor, shapes: Shapes) -> list[dict[str, float]]:
        return evaluate_members(self._outputs, self._data, views(rows, shapes), self._data.val)

    def _losses(self, stacks: Stacks, numbers: Tensor, weights: Tensor) -> Tensor:
        """Return each member's mean loss over its batch (P,), and put the gradients into their place."""
        inputs, targets = self._data.train.rows(numbers.flatten())
        inputs, targets = inputs.reshape(*numbers.shape, *inputs.shape[1:]), targets.reshape(numbers.shape)
        with torch.enable_grad():
            losses, grads = self._slopes(stacks.params, inputs, targets, weights, self._data.task.slope)
        torch.cat([grad.reshape(len(grad), -1) for grad in grads], dim=1, out=stacks.grads)
        return (losses * weights).sum(dim=1)

    def _by_autograd(
        self, params: Params, inputs: Tensor, targets: Tensor, weights: Tensor, slope: Slope
    ) -> tuple[Tensor, list[Tensor]]:
        del slope
        outputs = self._outputs(params, inputs)
        losses = self._data.task.losses(outputs.flatten(0, 1), targets.flatten()).reshape(targets.shape)
        return losses.detach(), list(torch.autograd.grad((losses * weights).sum(), params))


def _mover(stacks: Stacks, rates: Tensor) -> Callable[[int], None]:
    """Return what takes the step of all members, or of none: whatever needs memory comes before the first change."""
    crews = [(crew, stacks.rows[part], stacks.grads[part], rates[:, part]) for crew, part in stacks.places]
    in_place = [crew.steps(*given) for crew, *given in crews if crew.steps_in_place]
    pure = [each for each in crews if not each[0].steps_in_place]

    def move(step: int) -> None:
        found = [crew.propose(rows, grads, lr[step], stacks.shapes, step) for crew, rows, grads, lr in pure]
        for (crew, rows, *_), (updates, state) in zip(pure, found, strict=True):
            rows.add_(updates)
            crew.state = state
        for take in in_place:
            take(step)

    return move


def _due(runs: Sequence[Run], steps: int) -> NDArray[np.bool_]:
    """Say of each step (steps, P) whose turn it is to look at it."""
    taken = np.array([run.state.batches for run in runs])
    found: NDArray[np.bool_] = (taken + np.arange(steps)[:, None]) % SAMPLED == 0
    return found


def _seen(stacks: Stacks, before: Tensor, grads: Tensor) -> Tensor:
    """Return what all see (P, 3) who look at the step behind them, and the gradients that it followed."""
    return look(*(views(part, stacks.shapes) for part in (before, grads, stacks.rows - before)), members=1)
