"""Networks: shapes, seeded initialisation, agreement with torch.nn, refusals."""

from typing import Any

import pytest
import torch

from tests.support.sources import ROOT
from tests.training.recorder import measure
from tests.training.whole import whole
from training.data.bundled import load
from training.networks.bags import mean_vector
from training.networks.base import Network, form
from training.networks.table import NETWORKS, build_network

# kind -> data it fits, and a small network of it
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("wine", {"hidden": [8, 6], "activation": "gelu"}),
    "cnn": ("digits", {"channels": [4, 6]}),
    "signal": ("digits", {"channels": [4, 6]}),
    "text": ("digits_tokens", {"embedding": 6, "hidden": [8]}),
    "recommender": ("digits_tokens", {"embedding": 6, "hidden": [8]}),
    "transformer": ("digits_tokens", {"width": 8, "heads": 2, "depth": 2}),
    "transformer of rows": ("digits", {"width": 8, "heads": 2, "depth": 2}),
    "registered": ("digits", {"file": str(ROOT / "examples" / "network" / "nets.py"), "options": {"width": 4}}),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        ({"kind": "mlp", "hidden": []}, [(10, 64), (10,)]),
        (
            {"kind": "signal", "channels": [4, 6]},  # 64 -> 32 -> 16
            [(4, 1, 5), (4,), (6, 4, 5), (6,), (10, 6 * 16), (10,)],
        ),
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
    assert network.apply(params, whole(data.val)[0][:7]).shape == (7, 10)


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
    inputs, _ = whole(data.val)
    assert torch.equal(network.apply(params, inputs), peer(inputs))


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
    inputs, _ = whole(data.val)
    assert torch.allclose(network.apply(params, inputs), peer(inputs.reshape(-1, 1, 8, 8)), atol=1e-6)


def small(name: str) -> tuple[Network, torch.Tensor]:
    """Return a network in small, and inputs for it, floating ones in float64."""
    source, fields = SMALL[name]
    data = load(source)
    inputs, _ = data.val.rows(torch.arange(9))
    network = build_network({"kind": name.split(maxsplit=1)[0], **fields}, data)
    return network, inputs.double() if inputs.is_floating_point() else inputs


def drawn(network: Network, seed: int) -> list[torch.Tensor]:
    return [param.double() for param in network.init(seeded(seed))]


def test_every_kind_is_tested() -> None:
    assert {name.split()[0] for name in SMALL} == set(NETWORKS)


@pytest.mark.parametrize("name", SMALL)
def test_a_population_equals_its_members(name: str) -> None:
    """One vmap over stacked parameters gives each member's outputs and gradients."""
    network, inputs = small(name)
    members = [drawn(network, seed) for seed in range(5)]
    stacked = [torch.stack(parts) for parts in zip(*members, strict=True)]
    outputs = torch.func.vmap(network.apply, in_dims=(0, None))(stacked, inputs)

    def loss(params: list[torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
        return network.apply(params, inputs).square().mean()

    grads = torch.func.vmap(torch.func.grad(loss), in_dims=(0, None))(stacked, inputs)
    for number, member in enumerate(members):
        assert (outputs[number] - network.apply(member, inputs)).abs().max() < 1e-10
        leaves = [param.clone().requires_grad_() for param in member]
        own = torch.autograd.grad(loss(leaves, inputs), leaves)
        assert max((grad[number] - mine).abs().max().item() for grad, mine in zip(grads, own, strict=True)) < 1e-10


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_has_a_name_of_its_own(name: str) -> None:
    network, _ = small(name)
    assert len(set(network.names)) == len(network.names) == len(drawn(network, 1))


@pytest.mark.parametrize("name", SMALL)
def test_an_example_is_judged_by_itself(name: str) -> None:
    """Neither batch statistics nor chance: what is beside an example changes nothing, nor does a second look."""
    network, inputs = small(name)
    params = drawn(network, 1)
    outputs = network.apply(params, inputs)
    assert torch.equal(outputs, network.apply(params, inputs))
    assert torch.allclose(network.apply(params, inputs[4:5]), outputs[4:5], atol=1e-12)


@pytest.mark.parametrize("name", ["text", "recommender", "transformer"])
def test_padding_changes_nothing(name: str) -> None:
    """A token in the place of padding counts, and padding itself has no part in the outputs."""
    network, tokens = small(name)
    params = drawn(network, 1)
    tokens = tokens.clone()
    tokens[:, 20:] = 0
    outputs = network.apply(params, tokens)
    tables = [number for number, param in enumerate(params) if param.shape[0] == 18]
    changed = [param.clone() for param in params]
    for number in tables:
        changed[number][0] += 5.0  # the vector of padding
    assert tables
    assert torch.allclose(network.apply(changed, tokens), outputs, atol=1e-12)
    tokens[:, 30] = 3
    assert not torch.allclose(network.apply(params, tokens), outputs, atol=1e-3)
    assert network.apply(params, torch.zeros_like(tokens)).isfinite().all()


def test_the_mean_vector_equals_an_embedding_bag() -> None:
    tokens = torch.tensor([[3, 1, 0, 0], [2, 2, 5, 4]])
    table = torch.randn(6, 3, generator=seeded(1))
    peer = torch.nn.EmbeddingBag.from_pretrained(table, mode="mean", padding_idx=0)
    assert torch.allclose(mean_vector(tokens, table), peer(tokens))


def test_a_block_equals_torch_nn() -> None:
    """Our encoder over rows, beside torch's layers with the same parameters."""
    data = load("digits")
    network = build_network({"kind": "transformer", "width": 8, "heads": 2, "depth": 1}, data)
    params = network.init(seeded(4))
    block = torch.nn.TransformerEncoderLayer(
        8, 2, dim_feedforward=32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    names = (
        *("norm1.weight", "norm1.bias", "self_attn.in_proj_weight", "self_attn.in_proj_bias"),
        *("self_attn.out_proj.weight", "self_attn.out_proj.bias", "norm2.weight", "norm2.bias"),
        *("linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"),
    )
    ours = dict(zip(names, params[3:15], strict=True))
    block.load_state_dict(ours)
    inputs, _ = data.val.rows(torch.arange(20))
    rows = torch.nn.functional.linear(inputs.reshape(-1, 8, 8), params[0], params[1]) + params[2]
    normal = torch.nn.functional.layer_norm(block(rows), (8,), params[15], params[16])
    expected = torch.nn.functional.linear(normal.mean(dim=1), params[17], params[18])
    assert torch.allclose(network.apply(params, inputs), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("data", "network", "epochs", "lr", "least"),
    [
        ("digits", {"kind": "signal", "channels": [16, 32]}, 3, 0.005, 0.85),
        ("docstrings", {"kind": "text"}, 3, 0.02, 0.65),
        ("docstrings", {"kind": "transformer", "width": 16, "depth": 1, "heads": 2}, 3, 0.005, 0.4),
        ("imports", {"kind": "recommender"}, 8, 0.01, 0.57),
        ("digits", {"kind": "transformer"}, 6, 0.005, 0.8),
        ("digits_tokens", {"kind": "transformer", "width": 16, "depth": 1}, 6, 0.01, 0.5),
        (
            "wine",
            {"kind": "mlp", "hidden": [16], "activation": "tanh", "initialisation": "xavier_normal"},
            10,
            0.02,
            0.9,
        ),
        ("wine", {"kind": "mlp", "hidden": [16], "activation": "silu", "initialisation": "orthogonal"}, 10, 0.02, 0.9),
    ],
)
def test_trains_on_data_that_fit(data: str, network: dict[str, Any], epochs: int, lr: float, least: float) -> None:
    """Far better than chance, which is the share of the most frequent class: at most 0.4 on wine, and 0.5 on imports."""
    goal = {"recipe": "classifier", "data": data, "network": network, "epochs": epochs}
    outcome, seen = measure(goal, {"optimizer": "adam", "lr": lr})
    assert outcome.outcome == "completed"
    assert max(values["val_accuracy"] for _, values in seen) >= least


def test_a_number_is_predicted_better_than_by_the_mean() -> None:
    goal = {"recipe": "regressor", "data": "diabetes", "network": {"kind": "mlp", "hidden": [16]}, "epochs": 10}
    outcome, seen = measure(goal, {"optimizer": "adam", "lr": 0.01})
    assert outcome.outcome == "completed"
    assert {"train_loss", "val_loss", "val_mae"} <= set(seen[-1][1])
    _, targets = whole(load("diabetes").val)
    assert seen[-1][1]["val_loss"] < 0.7 * targets.square().mean().item()
    assert seen[-1][1]["val_mae"] < 0.8 * targets.abs().mean().item()


@pytest.mark.parametrize(
    ("spec", "data", "message"),
    [
        (
            {"kind": "rnn"},
            "digits",
            "unknown network kind 'rnn'; valid: mlp, cnn, signal, text, recommender, transformer",
        ),
        ({}, "digits", "unknown network kind None; valid: mlp, cnn"),
        ({"kind": "cnn", "channels": [4]}, "iris", "cnn needs pictures, and iris has numbers; use mlp, signal"),
        (
            {"kind": "mlp"},
            "docstrings",
            "mlp needs numbers or pictures, and docstrings has tokens; use text, recommender",
        ),
        ({"kind": "text"}, "iris", "text needs tokens, and iris has numbers; use mlp, signal"),
        ({"kind": "transformer"}, "wine", "transformer needs tokens or pictures, and wine has numbers"),
        ({"kind": "mlp", "hidden": [0]}, "iris", "network.hidden must be a list of positive whole numbers"),
        ({"kind": "mlp", "hidden": [1.5]}, "iris", "network.hidden must be a list"),
        ({"kind": "mlp", "hidden": 64}, "iris", "network.hidden must be a list"),
        ({"kind": "mlp", "channels": [4]}, "iris", "network mlp has no field channels; valid: hidden, activation"),
        ({"kind": "text", "embedding": 0}, "docstrings", "network.embedding must be a positive whole number, got 0"),
        ({"kind": "transformer", "width": 10, "heads": 4}, "digits", "4 does not divide 10"),
    ],
)
def test_refuses(spec: dict[str, Any], data: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_network(spec, load(data))


def test_forms_of_data() -> None:
    assert {name: form(load(name)) for name in ("iris", "digits", "digits_tokens")} == {
        "iris": "numbers",
        "digits": "pictures",
        "digits_tokens": "tokens",
    }
