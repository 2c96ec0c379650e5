"""How many steps it takes to a loss on an ill-conditioned network: preconditioned, and with SGD as well tuned as it gets.

Digits whose 64 features are mixed by a rotation and stretched over four decades, so that the input covariance has a
condition number of 10^8 at least; a network of 32 tanh units; batches of 128; the mean training loss of an epoch is
looked at after each. Everyone's rate, momentum or damping are searched on a grid; of each grid the best counts, the median
over seeds.
"""

import math
import statistics
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from sklearn.datasets import load_digits
from torch import Tensor, nn

from optim.build import build

TARGET = 0.1
MOST_STEPS = 1500
BATCH = 128
SEEDS = {"quick": (1,), "standard": (1, 2, 3), "full": (1, 2, 3, 4, 5)}
DECADES = 4

GRIDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "momentum": {"lr": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3), "momentum": (0.0, 0.9, 0.97, 0.99)},
    "adam": {"lr": (0.001, 0.003, 0.01, 0.03)},
    "kfac": {"lr": (0.01, 0.03, 0.1, 0.3), "damping": (1e-4, 1e-3, 1e-2)},
    "ekfac": {"lr": (0.01, 0.03, 0.1, 0.3), "damping": (1e-4, 1e-3, 1e-2)},
    "shampoo": {"lr": (0.001, 0.003, 0.01, 0.03, 0.1)},
}


@cache
def examples() -> tuple[Tensor, Tensor]:
    """Return ill-conditioned inputs (1797, 64) and labels."""
    generator = torch.Generator().manual_seed(0)
    inputs, labels = load_digits(return_X_y=True)
    found = torch.tensor(inputs / 16 - 0.5, dtype=torch.float32)
    rotation = torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q
    stretched = (found @ rotation) * torch.logspace(0, -DECADES, 64)
    return stretched / stretched.std() * 2, torch.tensor(labels)


def steps_to_target(optimizer: str, options: Mapping[str, Any], *, seed: int, most: int = MOST_STEPS) -> float:
    """Return after how many steps the mean loss over all examples is at most the target; infinity if it never is."""
    torch.manual_seed(seed)
    inputs, labels = examples()
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    stepping = build(optimizer, model, **options)
    for step, numbers in enumerate(_batches(len(labels)), start=1):
        _take(stepping, model, inputs[numbers], labels[numbers])
        if step % 10 == 0:
            with torch.no_grad():
                loss = F.cross_entropy(model(inputs), labels).item()
            if loss <= TARGET:
                return step
            if step >= most or not math.isfinite(loss):
                return math.inf
    return math.inf


def _take(stepping: Any, model: nn.Module, inputs: Tensor, labels: Tensor) -> None:  # noqa: ANN401 - an optimizer of ours
    if hasattr(stepping, "precondition"):

        def closure() -> tuple[Tensor, Tensor]:
            outputs = model(inputs)
            return F.cross_entropy(outputs, labels), outputs

        stepping.step(closure)
        return
    stepping.zero_grad()
    torch.autograd.backward(F.cross_entropy(model(inputs), labels))
    stepping.step()


def _batches(count: int) -> Iterator[Tensor]:
    while True:
        yield from torch.split(torch.randperm(count), BATCH)


def best(optimizer: str, seeds: tuple[int, ...]) -> tuple[float, dict[str, float]]:
    """Return the least median of steps over the grid, and where it is."""
    grid = GRIDS[optimizer]
    found = math.inf, dict.fromkeys(grid, math.nan)
    for values in product(*grid.values()):
        options = dict(zip(grid, values, strict=True))
        most = MOST_STEPS if math.isinf(found[0]) else int(2 * found[0]) + 10
        steps = statistics.median(steps_to_target(optimizer, options, seed=seed, most=most) for seed in seeds)
        if steps < found[0]:
            found = steps, options
    return found
