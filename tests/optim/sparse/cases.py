"""Layers, networks and batches that the tests of sparse training share, and what they are held against."""

import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot

from optim.sparse.activations import ACTIVATIONS
from optim.sparse.active import Active
from optim.sparse.kernels.interface import Layer
from optim.sparse.network import TwoLayer, gaussian
from optim.sparse.sgd import Batch, Model, Slope

# Inner products so near to the threshold may be taken for either side of it.
TIE = 1e-5


def seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


def points(count: int, features: int, *, seed: int) -> Tensor:
    """Draw points of the unit sphere."""
    return normalize(torch.randn(count, features, generator=seeded(seed)))


def layer(*, inputs: int, width: int, features: int, outputs: int = 1, seed: int = 0) -> Layer:
    weights, signs = gaussian(seeded(seed), width, features, outputs)
    return Layer(weights, points(inputs, features, seed=seed + 1), signs, torch.zeros(width))


def by_width(width: int) -> float:
    """Return the threshold of the theory."""
    return math.sqrt(0.4 * math.log(width))


def mask(active: Active, width: int) -> Tensor:
    """Return who is said to be active, (B, width)."""
    rows, neurons, _ = active.pairs()
    found = torch.zeros(len(active.counts), width, dtype=torch.bool)
    found[rows, neurons] = True
    return found


def audit(active: Active, inputs: Tensor, weights: Tensor, threshold: float) -> int:
    """Assert that an answer is that of all inner products, ties excused, and sound; return how many pairs were compared."""
    heights = inputs @ weights.T
    wrong = (mask(active, len(weights)) != (heights > threshold)) & ((heights - threshold).abs() > TIE)
    assert not wrong.any(), f"{int(wrong.sum())} of {wrong.numel()} pairs, first {torch.nonzero(wrong)[:3].tolist()}"
    rows, neurons, said = active.pairs()
    torch.testing.assert_close(said, heights[rows, neurons], atol=TIE, rtol=1e-5)
    for example in range(len(active.counts)):
        own, _ = active.row(example)
        assert (own.diff() > 0).all()
    return heights.numel()


def network(activation: str, width: int) -> TwoLayer:
    threshold = 0.0 if activation == "top_k" else by_width(width)
    return TwoLayer(ACTIVATIONS[activation], threshold, most=width // 20)


def model(activation: str, *, outputs: int = 1, width: int = 400, inputs: int = 60, features: int = 12) -> Model:
    return Model(
        network(activation, width), layer(inputs=inputs, width=width, features=features, outputs=outputs, seed=3)
    )


def squared(targets: Tensor) -> Slope:
    """Return half the squared error against targets (B, C)."""
    return lambda outputs: (0.5 * (outputs - targets).square().sum(1), outputs - targets)


def classes(labels: Tensor, count: int) -> Slope:
    """Return the cross-entropy against labels (B,)."""
    return lambda outputs: (
        cross_entropy(outputs, labels, reduction="none"),
        outputs.softmax(1) - one_hot(labels, count),
    )


def batches(
    given: Model, steps: int, *, lr: float, weight_decay: float = 0.0, size: int = 8, seed: int = 6
) -> Iterator[Batch]:
    """Yield batches of a task: for one output targets 1 and -1 of a half-space, for more of them classes."""
    inputs, outputs = given.layer.inputs, given.layer.signs.shape[1]
    teacher = torch.randn(inputs.shape[1], outputs, generator=seeded(seed))
    for step in range(steps):
        numbers = torch.randint(0, len(inputs), (size,), generator=seeded(1000 * seed + step))
        said = inputs[numbers] @ teacher
        slope = squared(said.sign()) if outputs == 1 else classes(said.argmax(1), outputs)
        yield Batch(numbers, slope, lr, weight_decay)
