"""Networks: shapes, seeded initialisation, agreement with torch.nn, refusals."""

from typing import Any

import pytest
import torch

from training.data import load
from training.networks import NETWORKS, build_network


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        ({"kind": "mlp", "hidden": []}, [(10, 64), (10,)]),
        ({"kind": "mlp", "hidden": [32, 16]}, [(32, 64), (32,), (16, 32), (16,), (10, 16), (10,)]),
        ({"kind": "cnn", "channels": [4]}, [(4, 1, 3, 3), (4,), (10, 4 * 4 * 4), (10,)]),
        (
            {"kind": "cnn", "channels": [4, 6, 8]},  # 8 -> 4 -> 2, and the third is not pooled
            [(4, 1, 3, 3), (4,), (6, 4, 3, 3), (6,), (8, 6, 3, 3), (8,), (10, 8 * 2 * 2), (10,)],
        ),
    ],
)
def test_shapes(spec: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    data = load("digits")
    network = build_network(spec, data)
    params = network.init(seeded(0))
    assert [tuple(param.shape) for param in params] == shapes
    assert network.apply(params, data.val_inputs[:7]).shape == (7, 10)


def test_initialisation_follows_the_generator_alone() -> None:
    network = build_network({"kind": "mlp", "hidden": [8]}, load("wine"))
    torch.manual_seed(1)
    first = network.init(seeded(5))
    torch.manual_seed(2)
    again, other = network.init(seeded(5)), network.init(seeded(6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert len(set(first[0].flatten().tolist())) == first[0].numel()  # no two units start alike


def test_initial_deviation_is_hes() -> None:
    weight, bias, last, _ = build_network({"kind": "mlp", "hidden": [4000]}, load("digits")).init(seeded(0))
    assert weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.02)
    assert last.std().item() == pytest.approx((1 / 4000) ** 0.5, rel=0.02)
    assert not bias.any()


def test_mlp_equals_torch_nn() -> None:
    data = load("wine")
    network = build_network({"kind": "mlp", "hidden": [8, 6]}, data)
    params = network.init(seeded(3))
    peer = torch.nn.Sequential(
        torch.nn.Linear(13, 8), torch.nn.ReLU(), torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3)
    )
    peer.load_state_dict(dict(zip(peer.state_dict(), params, strict=True)))
    assert torch.equal(network.apply(params, data.val_inputs), peer(data.val_inputs))


def test_cnn_equals_torch_nn() -> None:
    data = load("digits")
    network = build_network({"kind": "cnn", "channels": [5, 6]}, data)
    params = network.init(seeded(3))
    peer = torch.nn.Sequential(
        torch.nn.Conv2d(1, 5, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(5, 6, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(24, 10),
    )
    peer.load_state_dict(dict(zip(peer.state_dict(), params, strict=True)))
    expected = peer(data.val_inputs.reshape(-1, 1, 8, 8))
    assert torch.allclose(network.apply(params, data.val_inputs), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "data", "message"),
    [
        ({"kind": "rnn"}, "digits", "unknown network kind 'rnn'; valid: mlp, cnn"),
        ({}, "digits", "unknown network kind None; valid: mlp, cnn"),
        ({"kind": "cnn", "channels": [4]}, "iris", "cnn needs pictures, and iris has none; use mlp"),
        ({"kind": "mlp", "hidden": [0]}, "iris", "network.hidden must be a list of positive whole numbers"),
        ({"kind": "mlp", "hidden": [1.5]}, "iris", "network.hidden must be a list"),
        ({"kind": "mlp", "hidden": 64}, "iris", "network.hidden must be a list"),
    ],
)
def test_refuses(spec: dict[str, Any], data: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_network(spec, load(data))


def test_table_names_the_field_of_each_kind() -> None:
    assert {kind: field for kind, (field, _) in NETWORKS.items()} == {"mlp": "hidden", "cnn": "channels"}
