"""Who takes steps on a wide two-layer network: our trainer, held to a way or free, and three dense forms in plain torch.

All begin with the same weights and take the same steps, on the squared loss of one output. A step is a function of the
batch's row numbers (B,) that returns its losses (B,); it moves the weights of the problem that it was made for.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from optim.sparse.activations import ACTIVATIONS
from optim.sparse.kernels.choice import kernels
from optim.sparse.kernels.interface import Layer
from optim.sparse.network import TwoLayer, gaussian
from optim.sparse.sgd import Batch, Model
from optim.sparse.thresholds import by_width
from optim.sparse.trainer import SparseSgd
from optim.sparse.tuner import DENSE, LISTS, SCAN, Limits

Step: TypeAlias = Callable[[Tensor], Tensor]
# So many numbers stay in the cache of a core.
_CACHED = 2**17
WAYS: Mapping[str, tuple[str, ...]] = {"lists": (LISTS,), "without": (DENSE, SCAN), "auto": (DENSE, SCAN, LISTS)}


@dataclass(frozen=True, slots=True)
class Problem:
    """What everybody begins with: weights (m, d), signs (m, 1), inputs (n, d) of length 1, targets (n,), and the rate."""

    weights: Tensor
    signs: Tensor
    inputs: Tensor
    targets: Tensor
    threshold: float
    lr: float

    @property
    def network(self) -> TwoLayer:
        """The network but for its weights."""
        return TwoLayer(ACTIVATIONS["shifted_relu"], self.threshold)

    @property
    def gain(self) -> float:
        """What sums of activations are multiplied by to be outputs."""
        return 1 / math.sqrt(len(self.weights))

    @property
    def copied(self) -> "Problem":
        """The same with weights of its own."""
        return replace(self, weights=self.weights.clone())

    def accuracy(self, inputs: Tensor, targets: Tensor) -> float:
        """Return which part of these inputs (n, d) is put on the right side, 1 or -1."""
        outputs = self.network.outputs(self.weights, self.signs, inputs)[:, 0]
        return (outputs * targets > 0).float().mean().item()


def problem(width: int, inputs: Tensor, targets: Tensor, *, lr: float, threshold: float | None = None) -> Problem:
    """Draw a network for these data; its threshold is sqrt(0.4 ln m) unless it is given."""
    weights, signs = gaussian(torch.Generator().manual_seed(1), width, inputs.shape[1], 1)
    return Problem(weights, signs, inputs, targets, by_width(0.4, width) if threshold is None else threshold, lr)


def trainer(given: Problem, way: str, *, steps: int, threads: int) -> SparseSgd:
    """Return our trainer; lists, where it is held to them, are built here."""
    layer = Layer(given.weights, given.inputs, given.signs, torch.zeros(len(given.weights)))
    return SparseSgd(Model(given.network, layer), kernels(threads=threads), limits=Limits(WAYS[way], steps))


def stepped(given: Problem, trained: SparseSgd) -> Step:
    """Return the steps of our trainer."""

    def step(numbers: Tensor) -> Tensor:
        wanted = given.targets[numbers]

        def slope(outputs: Tensor) -> tuple[Tensor, Tensor]:
            errors = outputs[:, 0] - wanted
            return 0.5 * errors.square(), errors.unsqueeze(1)

        return trained.step(Batch(numbers, slope, given.lr))

    return step


class Wide(nn.Module):
    """The network as one writes it in torch; the signs stay."""

    def __init__(self, given: Problem) -> None:
        super().__init__()
        self.weights = nn.Parameter(given.weights)
        self._given = given

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs (B,) of inputs (B, d)."""
        above = torch.relu(inputs @ self.weights.T - self._given.threshold)
        return (above @ self._given.signs)[:, 0] * self._given.gain


def autograd(given: Problem) -> Step:
    """Return steps of a module with torch.optim.SGD."""
    model = Wide(given)
    optimizer = torch.optim.SGD(model.parameters(), lr=given.lr)

    def step(numbers: Tensor) -> Tensor:
        optimizer.zero_grad()
        outputs: Tensor = model(given.inputs[numbers])
        losses = 0.5 * (outputs - given.targets[numbers]).square()
        torch.autograd.backward(losses.mean())
        optimizer.step()
        return losses.detach()

    return step


def by_hand(given: Problem) -> Step:
    """Return steps of two matrix products, the update within the second one."""

    def step(numbers: Tensor) -> Tensor:
        inputs = given.inputs[numbers]
        above = (inputs @ given.weights.T).sub_(given.threshold).clamp_(min=0)
        errors = (above @ given.signs)[:, 0] * given.gain - given.targets[numbers]
        pulls = (above > 0) * given.signs[:, 0]
        pulls *= (errors * (given.lr * given.gain / len(numbers))).unsqueeze(1)
        given.weights.addmm_(pulls.T, inputs, alpha=-1)
        return 0.5 * errors.square()

    return step


def sparse_backward(given: Problem) -> Step:
    """Return steps of one matrix product, after which active rows alone are moved."""
    signs = given.signs[:, 0].contiguous()

    def step(numbers: Tensor) -> Tensor:
        inputs = given.inputs[numbers]
        heights = inputs @ given.weights.T
        rows, neurons = torch.nonzero(heights > given.threshold, as_tuple=True)
        own = signs[neurons]
        said = (heights[rows, neurons] - given.threshold) * own
        errors = torch.zeros(len(numbers)).index_add_(0, rows, said) * given.gain - given.targets[numbers]
        pulls = own * (errors * (given.lr * given.gain / len(numbers)))[rows]
        given.weights.index_add_(0, neurons, pulls.unsqueeze(1) * inputs[rows], alpha=-1)
        return 0.5 * errors.square()

    return step


DENSE_FORMS: Mapping[str, Callable[[Problem], Step]] = {
    "autograd": autograd,
    "by hand": by_hand,
    "sparse backward": sparse_backward,
}


def fused(given: Problem) -> Step:
    """Return the two matrix products alone, tile by tile in the cache: no dense step can be faster. It trains nothing."""

    def step(numbers: Tensor) -> Tensor:
        inputs = given.inputs[numbers]
        tiles = torch.split(given.weights, max(1, _CACHED // max(inputs.shape)))
        heights, moved = torch.empty(len(numbers), len(tiles[0])), torch.empty_like(tiles[0])
        for tile in tiles:
            there = heights[:, : len(tile)]
            torch.mm(inputs, tile.T, out=there)
            torch.mm(there.T, inputs, out=moved[: len(tile)])
        return torch.zeros(len(numbers))

    return step
