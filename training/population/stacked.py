"""Members stepped by tensor operations for all at once: on any device, for any network that stacks."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.examples import Data
from training.monitors import look
from training.networks.base import Network, Params
from training.population.evaluation import evaluate_members
from training.population.programs import Taken
from training.population.stacks import Shapes, Stacks, views
from training.population.strides import Stride
from training.tasks import Slope


class StackedProgram:
    """Forward and backward for all members at once, then one call of each crew's rule."""

    def __init__(self, network: Network, data: Data) -> None:
        """`data` is on the device that members are on."""
        self._data = data
        self._outputs = network.stacked
        self._slopes = network.slopes or self._by_autograd

    @torch.no_grad()
    def step(self, stacks: Stacks, stride: Stride, due: NDArray[np.bool_], taken: Taken, *, threads: int) -> None:
        torch.set_num_threads(threads)
        rows = stacks.rows
        weights = stride.weights.to(rows.device, rows.dtype)
        move = _mover(stacks, stride.rates.to(rows.device))
        for step in range(stride.steps):
            losses = self._losses(stacks, stride.numbers[step], weights)
            # A step may overwrite gradients, and always does parameters.
            kept = (stacks.rows.clone(), stacks.grads.clone()) if due[step].any() else None
            move(step)
            taken.losses.append(losses)
            if kept is not None:
                taken.looks.append((_seen(stacks, *kept), due[step]))

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
        found = [crew.propose(rows, grads, lr[step], stacks.shapes) for crew, rows, grads, lr in pure]
        for (crew, rows, *_), (updates, state) in zip(pure, found, strict=True):
            rows.add_(updates)
            crew.state = state
        for take in in_place:
            take(step)

    return move


def _seen(stacks: Stacks, before: Tensor, grads: Tensor) -> Tensor:
    """Return what all see (P, 3) who look at the step behind them, and the gradients that it followed."""
    return look(*(views(part, stacks.shapes) for part in (before, grads, stacks.rows - before)), members=1)
