"""The Laplace approximation: its curvature and variances by brute force, and that it knows better than the MAP."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from tests.training.posthoc.trials import few, found, jacobian, run_of, small
from tests.training.whole import whole
from training.data.bundled import load
from training.networks.base import Network, Params
from training.networks.table import build_network
from training.posthoc.laplace import GRID, MAP, judged, laplace
from training.posthoc.last_layer import curvature, variances
from training.posthoc.trained import Trained, trained

PRECISIONS = (0.01, 3.0, MAP)


def _last_is_a_convolution() -> Network:
    """One whose last layer sees several positions, over which its outputs are the mean."""

    def apply(params: Params, inputs: Tensor) -> Tensor:
        weight, bias, last, shift = params
        return F.conv1d(torch.tanh(F.conv1d(inputs.unsqueeze(1), weight, bias)), last, shift).mean(dim=2)

    def init(generator: torch.Generator) -> list[Tensor]:
        shapes = ((2, 1, 2), (2,), (3, 2, 2), (3,))
        return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]

    return Network(init, apply)


def _runs() -> dict[str, Trained]:
    iris = few("iris", 20)
    params = {"optimizer": "momentum", "lr": 0.05, "batch_size": 8}
    return {
        "mlp": small(),
        "numbers": small("diabetes"),
        "convolution": trained(run_of(iris, _last_is_a_convolution(), params, epochs=3)),
    }


@pytest.mark.parametrize("name", ["mlp", "numbers", "convolution"])
def test_variances_are_those_of_the_dense_covariance(name: str) -> None:
    run = _runs()[name]
    known = found(curvature(run, scale=2.0))
    basis = torch.kron(known.slopes[0], known.inputs[0])
    matrix = basis @ torch.diag(known.values[0].flatten()) @ basis.T  # over rows of the weight, each with its bias
    weight, bias = run.params[-2:]
    rows = torch.arange(weight.numel()).reshape(len(weight), -1)
    order = torch.cat([rows, weight.numel() + torch.arange(len(bias)).unsqueeze(1)], dim=1).flatten()
    inputs, _ = whole(run.data.val)
    slopes = jacobian(run, inputs)[..., -(weight.numel() + bias.numel()) :][..., order]
    outputs, spreads = variances(run, known, inputs, PRECISIONS)
    torch.testing.assert_close(outputs, run.course.network.apply(run.params, inputs).detach())
    for precision, spread in zip(PRECISIONS[:-1], spreads[:-1], strict=True):
        covariance = torch.linalg.inv(matrix + precision * torch.eye(len(matrix), dtype=torch.float64))
        wanted = torch.einsum("nki,ij,nkj->nk", slopes, covariance, slopes)
        torch.testing.assert_close(spread, wanted, rtol=1e-8, atol=1e-12)
    assert float(spreads[-1].abs().max()) == 0


@pytest.mark.parametrize(("name", "curved"), [("iris", None), ("diabetes", 2.0)])
def test_the_curvature_is_of_kronecker_factors(name: str, curved: float | None) -> None:
    run = small(name)
    inputs, _ = whole(run.data.train)
    weight, bias, *_ = run.params
    hidden = torch.cat([torch.tanh(F.linear(inputs, weight, bias)), torch.ones(len(inputs), 1).double()], dim=1)
    shares = run.course.network.apply(run.params, inputs).softmax(dim=1)
    by_outputs = torch.diag_embed(shares) - shares.unsqueeze(2) * shares.unsqueeze(1)
    outer = by_outputs.mean(dim=0) if curved is None else torch.tensor([[curved]], dtype=torch.float64)
    known = found(curvature(run))
    matrix = len(inputs) * torch.kron(outer, hidden.T @ hidden / len(inputs)).detach()
    basis = torch.kron(known.slopes[0], known.inputs[0])
    torch.testing.assert_close(basis @ torch.diag(known.values[0].flatten()) @ basis.T, matrix, rtol=1e-8, atol=1e-10)


def test_without_variance_it_is_the_map() -> None:
    run = small()
    (values,) = found(judged(run, [MAP]))
    inputs, targets = whole(run.data.val)
    wanted = F.cross_entropy(run.course.network.apply(run.params, inputs), targets)
    assert values["nll"] == pytest.approx(float(wanted.detach()), rel=1e-10)


def test_numbers_are_normal_with_noise() -> None:
    run = small("diabetes")
    (values,) = found(judged(run, [2.0]))
    (inputs, targets), (trained_on, theirs) = whole(run.data.val), whole(run.data.train)
    apart = run.course.network.apply(run.params, trained_on).squeeze(1) - theirs
    noise = float(apart.detach().square().mean())
    outputs, (spread,) = variances(run, found(curvature(run, scale=1 / (2 * noise))), inputs, [2.0])
    wanted = torch.distributions.Normal(outputs.squeeze(1), (noise + spread.squeeze(1)).sqrt()).log_prob(targets)  # type: ignore[no-untyped-call]
    assert values == {"nll": pytest.approx(-float(wanted.mean()), rel=1e-10)}


def test_the_chosen_precision_is_of_the_grid_and_the_values_are_named() -> None:
    values = found(laplace(small()))
    assert set(values) == {"map_nll", "map_ece", "laplace_nll", "laplace_ece", "laplace_precision"}
    assert values["laplace_precision"] in GRID
    assert all(math.isfinite(value) for value in values.values())


@pytest.mark.parametrize(
    ("name", "params", "epochs"),
    [
        ("digits", {"optimizer": "adam", "lr": 0.01}, 40),
        ("digits", {"optimizer": "kfac", "lr": 0.02, "batch_size": 64}, 10),
    ],
)
def test_of_a_network_that_fits_all_it_was_trained_on_it_is_likelier(
    name: str, params: dict[str, Any], epochs: int
) -> None:
    data = load(name)
    run = run_of(data, build_network({"kind": "mlp", "hidden": [64]}, data), params, epochs=epochs, seed=3)
    values = found(laplace(trained(run)))
    assert values["laplace_nll"] < 0.95 * values["map_nll"]


def test_the_same_run_finds_the_same() -> None:
    run = small()
    assert found(laplace(run)) == found(laplace(run))
