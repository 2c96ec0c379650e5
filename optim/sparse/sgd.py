"""A step of stochastic gradient descent on a wide two-layer network, sparse or dense; both take the same step.

Weight decay would touch every row. The weights are therefore kept as u with one `scale` s, w = s u: decay shrinks s alone,
and a neuron fires where <u, x> > b / s. Now and then s is folded into u, lest u grows beyond what float32 can hold.

Momentum and Adam move rows long after they were active, so they have no sparse form.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from .activations import activated
from .active import Active
from .back_ends.dense import scanned
from .back_ends.interface import BackEnd
from .costs import Spent
from .kernels.interface import Kernels, Layer
from .network import TwoLayer

# Seconds from anywhere on.
Clock: TypeAlias = Callable[[], float]
# Outputs (B, C) -> the losses (B,) of the batch's examples and their slopes (B, C) by the outputs.
Slope: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(slots=True)
class Model:
    """A network under way: its layer of u, and s."""

    network: TwoLayer
    layer: Layer
    scale: float = 1.0

    @property
    def threshold(self) -> float:
        """What <u, x> has to pass; of a selective activation, whose order no scale changes, where to look for the highest."""
        return self.network.threshold if self.network.activation.selective else self.network.threshold / self.scale

    @property
    def gain(self) -> float:
        """What the sum of signs times activations in u has to be multiplied by to be f."""
        power = 2 if self.network.activation.squared else 1
        return self.scale**power / math.sqrt(len(self.layer.weights))

    @property
    def weights(self) -> Tensor:
        """The weights w (m, d), a copy."""
        return self.layer.weights * self.scale

    def fold(self) -> float:
        """Take the scale into the layer but for a rest from 1 to 2: powers of two change no digit, so no step to come.

        Return by what the layer was multiplied, of which who answers for it has to be told.
        """
        factor: float = 2.0 ** math.floor(math.log2(self.scale))
        self.layer.weights.mul_(factor)
        self.layer.paths.mul_(factor)
        self.scale /= factor
        return factor


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step is taken on: `numbers` (B,) int64 of inputs, the loss behind the outputs, and the rates.

    Raise ValueError where the decay would leave nothing of the weights.
    """

    numbers: Tensor
    slope: Slope
    lr: float
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check what is kept."""
        if not self.kept > 0:
            raise ValueError(f"lr times weight_decay must be under 1, got {self.lr:g} times {self.weight_decay:g}")

    @property
    def kept(self) -> float:
        """Which part of a weight decay leaves."""
        return 1.0 - self.lr * self.weight_decay

    def pulls(self, slopes: Tensor, model: Model) -> Tensor:
        """Return by how much u is moved for a unit of sign, of slope in u and of input, (B, C)."""
        # d/dw is 1 / s times d/du, and a step of w is s' times one of u, where s' is the scale behind the step.
        return slopes * (self.lr * model.gain / (len(self.numbers) * model.scale**2 * self.kept))


def sparse_step(
    model: Model, batch: Batch, finder: BackEnd, keeper: BackEnd, kernels: Kernels, clock: Clock = time.perf_counter
) -> tuple[Tensor, Spent]:
    """Step those rows alone that are active for the batch; return its losses (B,), and the seconds that it took.

    `finder` is asked who is active, `keeper` is told who has moved: mostly they are the same.
    """
    began = clock()
    layer, squared = model.layer, model.network.activation.squared
    active = find(model, batch.numbers, finder, kernels)
    found = clock()
    shift = 0.0 if model.network.activation.selective else model.threshold
    outputs = kernels.speak(layer, active, shift, squared=squared) * model.gain
    losses, slopes = batch.slope(outputs.float())
    pulls = batch.pulls(slopes, model)
    allowance = keeper.allowance(model.threshold)
    beyond = kernels.move(layer, batch.numbers, active, pulls, shift, squared=squared, allowance=allowance)
    model.scale *= batch.kept
    moved = clock()
    keeper.update(beyond, model.threshold)
    return losses, Spent(found - began, moved - found, clock() - moved, 1)


def find(model: Model, numbers: Tensor, finder: BackEnd, kernels: Kernels) -> Active:
    """Return who is active: over the threshold or, of a selective activation, among the highest."""
    active = finder.query(numbers, model.threshold)
    network = model.network
    if not network.activation.selective:
        return active
    found = int(active.counts.sum())
    if int(active.counts.min()) < network.most:  # the threshold was too high to tell
        layer = model.layer
        finder.counters.candidates += len(numbers) * len(layer.weights)
        active = scanned(kernels, layer.inputs[numbers], layer.weights, -math.inf, room=len(layer.weights))
    active = kernels.strongest(active, network.most)
    finder.counters.active += int(active.counts.sum()) - found
    return active


def _said(network: TwoLayer, heights: Tensor, threshold: float) -> tuple[Tensor, Callable[[], Tensor]]:
    """Return what all neurons say (B, m), and what gives the slopes of that once it is not needed any more.

    Both are made in the memory of `heights`, as far as they can be.
    """
    if network.activation.selective:
        said = activated(network.activation, heights, threshold=threshold, most=network.most)
        return said, lambda: said.ne_(0)
    excess = heights.sub_(threshold).clamp_(min=0.0)
    if network.activation.squared:
        return excess.square(), lambda: excess.mul_(2)
    return excess, excess.sign_


def dense_step(model: Model, batch: Batch, keeper: BackEnd, clock: Clock = time.perf_counter) -> tuple[Tensor, Spent]:
    """Step by products of whole matrices; return the losses (B,), and the seconds. `keeper` is told who has moved."""
    began = clock()
    layer, network, threshold = model.layer, model.network, model.threshold
    inputs = layer.inputs[batch.numbers]
    said, bend = _said(network, inputs @ layer.weights.T, threshold)
    losses, slopes = batch.slope(said @ layer.signs * model.gain)
    bends = bend()
    # A sum of signs is many times as fast as counting what is not zero; all bends but those of squares are 0 or 1.
    active = (bends.sign() if network.activation.squared else bends).sum().nan_to_num()
    keeper.counters.take(len(inputs), candidates=bends.numel(), active=int(active))
    pulls = (batch.pulls(slopes, model) @ layer.signs.T).mul_(bends)
    layer.weights.addmm_(pulls.T, inputs, alpha=-1)
    allowance = keeper.allowance(threshold)
    if math.isfinite(allowance):
        layer.paths += pulls.abs().sum(dim=0)
    model.scale *= batch.kept
    moved = clock()
    if math.isfinite(allowance):
        beyond = ~(layer.paths <= allowance) & (layer.paths != math.inf)
        keeper.update(torch.nonzero(beyond)[:, 0].int(), model.threshold)
    return losses, Spent(0.0, moved - began, clock() - moved, 1)
