"""Largest eigenvalue and trace are those of the Hessian by brute force, and the noise scale that of all examples."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from optim.precondition.spectrum import Quadrature
from tests.training.posthoc.trials import MLP, few, found, run_of, small
from tests.training.whole import whole
from training.networks.base import Network, Params
from training.posthoc import spectrum, trained
from training.posthoc.noise_scale import noise_scale
from training.posthoc.trained import Trained, Unavailable

CNN = {"kind": "cnn", "channels": [3]}


def _flat(run: Trained) -> Tensor:
    return torch.cat([param.detach().flatten() for param in run.params])


def _losses(run: Trained, flat: Tensor) -> Tensor:
    """Return the loss of each example of the training part, as a function of all parameters."""
    parts = torch.split(flat, [param.numel() for param in run.params])
    params = [part.reshape(param.shape) for part, param in zip(parts, run.params, strict=True)]
    inputs, targets = whole(run.data.train)
    return run.data.task.losses(run.course.network.apply(params, inputs), targets)


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_the_spectrum_is_that_of_the_hessian(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "PROBES", 2000)
    run = small(name)
    hessian = torch.autograd.functional.hessian(lambda flat: _losses(run, flat).mean(), _flat(run))  # type: ignore[no-untyped-call]
    values = found(spectrum.spectrum(run))
    assert values["hessian_top"] == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=2e-3)
    assert values["hessian_trace"] == pytest.approx(float(hessian.trace()), rel=0.05)


def _summed(eigenvalues: Tensor) -> dict[str, float]:
    """Return what is reported of the density, by all eigenvalues."""
    sizes = eigenvalues.abs()
    return {
        "hessian_lowest": float(eigenvalues.min()),
        "hessian_negative": float(sizes[eigenvalues < 0].sum() / sizes.sum()),
        "hessian_rank": float(sizes.sum() ** 2 / sizes.square().sum()),
        "hessian_tail": float((sizes > spectrum.TAIL * sizes.max()).double().mean()),
    }


def _eigenvalues(run: Trained) -> Tensor:
    hessian = torch.autograd.functional.hessian(lambda flat: _losses(run, flat).mean(), _flat(run))  # type: ignore[no-untyped-call]
    found: Tensor = torch.linalg.eigvalsh(hessian)
    return found


@pytest.mark.parametrize("name", ["iris", "diabetes"])
@pytest.mark.parametrize("loosely", [False, True])
def test_what_is_said_of_the_density_is_so_of_all_eigenvalues(
    name: str, loosely: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With vectors and products enough it is exact; with those that are taken it is near."""
    if not loosely:
        monkeypatch.setattr(spectrum, "VECTORS", 200)
        monkeypatch.setattr(spectrum, "DEPTH", 1000)
    run = small(name)
    wanted, values = _summed(_eigenvalues(run)), found(spectrum.spectrum(run))
    assert wanted["hessian_negative"] > 0.001
    for measure, value in wanted.items():
        assert values[measure] == pytest.approx(value, rel=0.35 if loosely else 0.1), measure


def test_a_loss_that_is_flat_everywhere_has_no_shares() -> None:
    flat = torch.zeros(2, 3)
    values = spectrum.summary(Quadrature(flat, torch.full((2, 3), 1 / 3)), 9)
    assert values == dict.fromkeys(_summed(torch.ones(1)), 0.0)


def test_no_more_examples_are_looked_at_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "EXAMPLES", 5)
    run = small()
    order = torch.Generator()
    order.set_state(run.order)
    numbers = torch.randperm(20, generator=order)[:5]
    hessian = torch.autograd.functional.hessian(lambda flat: _losses(run, flat)[numbers].mean(), _flat(run))  # type: ignore[no-untyped-call]
    top = found(spectrum.spectrum(run))["hessian_top"]
    assert top == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=2e-3)


@pytest.mark.parametrize(("name", "network"), [("iris", MLP), ("digits", CNN), ("diabetes", MLP)])
@pytest.mark.parametrize("block", [256, 7])
def test_the_noise_scale_is_that_of_all_examples(
    name: str, network: dict[str, Any], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained, "BLOCK", block)
    run = small(name, network)
    grads = torch.autograd.functional.jacobian(lambda flat: _losses(run, flat), _flat(run))  # type: ignore[no-untyped-call]
    mean = grads.mean(dim=0)
    wanted = (grads - mean).square().sum(dim=1).mean() / mean.square().sum()
    assert found(noise_scale(run)) == {"noise_scale": pytest.approx(float(wanted), rel=1e-8)}


def test_a_network_that_cannot_be_differentiated_twice() -> None:
    def apply(params: Params, inputs: Tensor) -> Tensor:
        rows = F.linear(inputs, params[0]).reshape(
            len(inputs), 1, 4, 3
        )  # of fused kernels for attention torch knows none
        return F.scaled_dot_product_attention(rows, rows, rows).mean(dim=(1, 2))

    network = Network(lambda generator: [torch.randn(12, 4, generator=generator, dtype=torch.float64)], apply)
    run = trained.trained(run_of(few("iris", 20), network, {"lr": 0.01, "batch_size": 8}, epochs=1))
    with pytest.raises(Unavailable, match="cannot be differentiated twice: derivative for aten::"):
        found(spectrum.spectrum(run))
