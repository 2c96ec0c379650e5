"""How weights begin: their variances, that no two units are alike, and that scheme and seed alone decide."""

import math
from typing import Any

import pytest
import torch

from training.data.bundled import load
from training.networks.initialisation import INITIALISATIONS, Part, draw
from training.networks.table import build_network

INPUTS, OUTPUTS = 300, 500
DEVIATIONS = {
    "he_normal": math.sqrt(2 / INPUTS),
    "he_uniform": math.sqrt(2 / INPUTS),
    "xavier_normal": math.sqrt(2 / (INPUTS + OUTPUTS)),
    "xavier_uniform": math.sqrt(2 / (INPUTS + OUTPUTS)),
    "normal": 0.02,
    "orthogonal": math.sqrt(2 / OUTPUTS),  # orthonormal columns of 500 numbers, times sqrt(2)
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weight(scheme: str, *, shape: tuple[int, ...] = (OUTPUTS, INPUTS), gain: float = 2.0) -> torch.Tensor:
    part = Part(shape, math.prod(shape[1:]), shape[0] * math.prod(shape[2:]), gain)
    (drawn,) = draw([part], INITIALISATIONS[scheme], seeded(3))
    return drawn


def test_every_scheme_is_tested() -> None:
    assert set(DEVIATIONS) == set(INITIALISATIONS)


@pytest.mark.parametrize("scheme", sorted(DEVIATIONS))
def test_mean_and_deviation(scheme: str) -> None:
    drawn = weight(scheme)
    assert drawn.dtype == torch.float32
    assert abs(drawn.mean().item()) < 4 * DEVIATIONS[scheme] / math.sqrt(drawn.numel())
    assert drawn.std().item() == pytest.approx(DEVIATIONS[scheme], rel=0.01)
    limit = math.sqrt(3) * DEVIATIONS[scheme]
    assert (drawn.abs().max().item() <= limit) == scheme.endswith("uniform")


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (16, 3, 3, 3)])
def test_orthogonal_weights_are(shape: tuple[int, ...]) -> None:
    drawn = weight("orthogonal", shape=shape, gain=2.0).flatten(1).double()
    small = drawn @ drawn.T if drawn.shape[0] <= drawn.shape[1] else drawn.T @ drawn
    assert torch.allclose(small, 2 * torch.eye(len(small), dtype=torch.float64), atol=1e-5)


@pytest.mark.parametrize("scheme", sorted(INITIALISATIONS))
@pytest.mark.parametrize(
    ("data", "spec"),
    [
        ("wine", {"kind": "mlp", "hidden": [8]}),
        ("digits", {"kind": "cnn", "channels": [4]}),
        ("digits", {"kind": "signal", "channels": [4]}),
        ("digits_tokens", {"kind": "text", "hidden": [8]}),
        ("digits_tokens", {"kind": "recommender"}),
        ("digits", {"kind": "transformer", "width": 8}),
    ],
)
def test_symmetry_is_broken(data: str, spec: dict[str, Any], scheme: str) -> None:
    """No two units of a layer start alike, so that they do not stay alike; biases start at zero, scales at one."""
    params = build_network({**spec, "initialisation": scheme}, load(data)).init(seeded(5))
    again, other = (build_network({**spec, "initialisation": scheme}, load(data)).init(seeded(seed)) for seed in (5, 6))
    assert all(torch.equal(one, two) for one, two in zip(params, again, strict=True))
    for param, second in zip(params, other, strict=True):
        if param.ndim == 1:
            assert set(param.tolist()) in ({0.0}, {1.0})
            continue
        assert len(torch.unique(param.flatten(1), dim=0)) == len(param)
        assert not torch.equal(param, second)


def test_a_step_moves_units_that_started_differently_apart() -> None:
    """With equal weights every unit of a layer gets one and the same gradient; with drawn ones none do."""
    data = load("wine")
    inputs, targets = data.train.rows(torch.arange(32))
    network = build_network({"kind": "mlp", "hidden": [8], "activation": "tanh"}, data)
    drawn = network.init(seeded(0))
    equal = [torch.full_like(param, 0.1) for param in drawn]
    distinct = []
    for params in (equal, drawn):
        leaves = [param.requires_grad_() for param in params]
        loss = data.task.losses(network.apply(leaves, inputs), targets).mean()
        (grad, *_) = torch.autograd.grad(loss, leaves)
        distinct.append(len(torch.unique((grad * 1e4).round(), dim=0)))
    assert distinct == [1, 8]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"network.initialisation: unknown 'zeros'; valid: he_normal, he_uniform, xavier"
    ):
        build_network({"kind": "mlp", "initialisation": "zeros"}, load("iris"))
    with pytest.raises(ValueError, match=r"network.activation: unknown 'elu'; valid: relu, tanh, gelu, silu"):
        build_network({"kind": "mlp", "activation": "elu"}, load("iris"))
