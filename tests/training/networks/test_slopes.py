"""Gradients that are written out equal those of autograd, for each task, activation and depth."""

from typing import Any

import pytest
import torch
from torch import Generator

from training.data.bundled import load
from training.networks.dense import ACTIVATIONS
from training.networks.table import build_network

MEMBERS, EXAMPLES = 3, 7
# Those whose slope their outputs tell.
WRITTEN = ("relu", "tanh")


@pytest.mark.parametrize("data", ["iris", "diabetes"])
@pytest.mark.parametrize("hidden", [[], [5], [6, 4]])
@pytest.mark.parametrize("activation", WRITTEN)
def test_they_equal_autograd(activation: str, hidden: list[int], data: str) -> None:
    given = load(data)
    network = build_network({"kind": "mlp", "hidden": hidden, "activation": activation}, given)
    assert network.slopes is not None
    members = [network.init(Generator().manual_seed(seed)) for seed in range(MEMBERS)]
    params = [torch.stack(parts).double().requires_grad_() for parts in zip(*members, strict=True)]
    numbers = torch.randint(len(given.train), (MEMBERS * EXAMPLES,), generator=Generator().manual_seed(1))
    inputs, targets = given.train.rows(numbers)
    inputs = inputs.double().reshape(MEMBERS, EXAMPLES, -1)
    targets = (targets if targets.dtype == torch.int64 else targets.double()).reshape(MEMBERS, EXAMPLES)
    weights = torch.rand(MEMBERS, EXAMPLES, dtype=torch.float64)
    weights[1, 4:] = 0.0

    losses, grads = network.slopes(params, inputs, targets, weights, given.task.slope)

    outputs = network.stacked(params, inputs)
    plain = given.task.losses(outputs.flatten(0, 1), targets.flatten()).reshape(MEMBERS, EXAMPLES)
    expected = torch.autograd.grad((plain * weights).sum(), params)
    torch.testing.assert_close(losses, plain.detach(), rtol=1e-12, atol=1e-12)
    assert len(grads) == len(expected)
    for ours, theirs in zip(grads, expected, strict=True):
        assert ours.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_other_activations_leave_it_to_autograd() -> None:
    for activation in set(ACTIVATIONS) - set(WRITTEN):
        spec: dict[str, Any] = {"kind": "mlp", "hidden": [4], "activation": activation}
        assert build_network(spec, load("iris")).slopes is None
