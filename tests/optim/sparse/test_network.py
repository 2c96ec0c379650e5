"""The network's plain form and how it begins."""

import math

import pytest
import torch

from optim.sparse.activations import ACTIVATIONS, activated
from optim.sparse.network import INITIALISATIONS, TwoLayer, gaussian
from optim.sparse.thresholds import expected_share
from tests.optim.sparse import cases


def said_one_by_one(network: TwoLayer, weights: torch.Tensor, signs: torch.Tensor, x: torch.Tensor) -> list[float]:
    """Write f(x) as the paper does, neuron by neuron."""
    heights = [float(row.double() @ x.double()) for row in weights]
    best = sorted(heights, reverse=True)[: network.most]
    total = [0.0] * signs.shape[1]
    for height, own in zip(heights, signs.tolist(), strict=True):
        if network.activation.selective:
            value = height if height in best else 0.0
        else:
            value = max(height - network.threshold, 0.0)
            value = value**2 if network.activation.squared else value
        total = [sum_ + sign * value for sum_, sign in zip(total, own, strict=True)]
    return [each / math.sqrt(len(weights)) for each in total]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_plain_form_is_the_formula(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optim.sparse.network._TILE", 200)  # several tiles
    network, layer = cases.network(activation, 120), cases.layer(inputs=5, width=120, features=6, outputs=3)
    outputs = network.outputs(layer.weights, layer.signs, layer.inputs)
    expected = [said_one_by_one(network, layer.weights, layer.signs, x) for x in layer.inputs]
    torch.testing.assert_close(outputs, torch.tensor(expected))


def test_at_threshold_zero_it_is_relu() -> None:
    heights = torch.randn(4, 9, generator=cases.seeded(0))
    values = activated(ACTIVATIONS["shifted_relu"], heights, threshold=0.0, most=0)
    assert torch.equal(values, heights.relu())


@pytest.mark.parametrize("activation", ["shifted_relu", "shifted_squared_relu"])
def test_a_paired_network_begins_as_zero(activation: str) -> None:
    width = 2000
    weights, signs = INITIALISATIONS["paired"](cases.seeded(0), width, 16, 3)
    outputs = cases.network(activation, width).outputs(weights, signs, cases.points(50, 16, seed=1))
    assert weights.shape == (width, 16)
    assert torch.unique(signs).tolist() == [-1.0, 1.0]
    assert outputs.abs().max() < 1e-6


def test_a_paired_network_needs_an_even_width() -> None:
    with pytest.raises(ValueError, match="even width, got 7"):
        INITIALISATIONS["paired"](cases.seeded(0), 7, 3, 1)


def test_gaussian_neurons_fire_as_often_as_expected() -> None:
    weights, signs = gaussian(cases.seeded(0), 20_000, 32, 1)
    x, threshold = cases.points(1, 32, seed=1), 1.5
    share, error = expected_share(threshold), math.sqrt(expected_share(threshold) / 20_000)
    assert (weights @ x[0] > threshold).double().mean().item() == pytest.approx(share, abs=3 * error)
    assert signs.mean().abs() < 3 / math.sqrt(20_000)
