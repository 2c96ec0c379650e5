"""Every method of the registry does something: what it keeps moves, and the step is another than the plain gradient's."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim import catalog
from optim.build import build
from optim.precondition.interface import Preconditioner
from optim.precondition.methods import METHODS

CURVATURES = {
    "Hessian", "absolute Hessian", "BFGS", "Gauss-Newton", "Fisher", "empirical Fisher", "batch gradient",
}  # fmt: skip
REPRESENTATIONS = {
    "full", "layer block", "Kronecker", "Kronecker eigenbasis", "unit-wise", "diagonal", "low rank", "Gram", "matrix-free",
}  # fmt: skip
SOLVERS = {
    "Cholesky", "eigendecomposition", "Woodbury", "conjugate gradients", "Neumann", "BFGS", "learned by SGD",
    "Newton-Schulz", "none",
}  # fmt: skip
# These follow from the batch alone, and keep counts and no more.
MEMORYLESS = {"smw_ngd", "seng", "hessian_free", "neumann", "newton", "absolute_newton"}


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def every_step(method: str) -> dict[str, Any]:
    """Return options by which a method works at each step, and is not held back."""
    own = catalog.by_name(catalog.optimizer_info(method).options)
    wanted: dict[str, Any] = {"interval": 1, "curvature_interval": 1, "kl_clip": 0.0}
    return {name: value for name, value in wanted.items() if name in own}


def stepped(method: str, steps: int) -> tuple[Tensor, Tensor, Preconditioner]:
    """Return the preconditioned gradient of a step, the plain one, and who made it of the other."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    batches = [(torch.randn(24, 5), torch.randint(3, (24,))) for _ in range(steps)]
    precondition = Preconditioner(model, method, **every_step(method))
    stepping = torch.optim.SGD(model.parameters(), lr=0.02)
    for batch in batches:

        def closure(batch: tuple[Tensor, Tensor] = batch) -> tuple[Tensor, Tensor]:
            outputs = model(batch[0])
            return F.cross_entropy(outputs, batch[1]), outputs

        loss, _ = closure()
        plain = torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, list(model.parameters()))])
        precondition.backward(closure, lr=0.02)
        found = torch.cat([param.grad.flatten() for param in model.parameters() if param.grad is not None])
        stepping.step()
    return found, plain, precondition


@pytest.mark.parametrize("method", METHODS)
def test_the_step_is_another_than_the_plain_gradients(method: str) -> None:
    found, plain, _ = stepped(method, 4)
    assert found.isfinite().all()
    assert torch.cosine_similarity(found, plain, dim=0) < 0.9995
    assert not torch.allclose(found, plain, rtol=1e-3)


@pytest.mark.parametrize("method", sorted(set(METHODS) - MEMORYLESS))
def test_what_it_keeps_moves_with_every_step(method: str) -> None:
    kept = [_tensors(stepped(method, steps)[2].state_dict()["state"]) for steps in (1, 2, 3)]
    for earlier, later in pairwise(kept):
        moved = [not torch.equal(one, other) for one, other in zip(earlier, later, strict=True) if one.ndim >= 2]
        assert moved
        assert all(moved)


@pytest.mark.parametrize("method", METHODS)
def test_one_bad_batch_is_forgotten(method: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    inputs, targets = torch.randn(24, 5), torch.randint(3, (24,))
    precondition = Preconditioner(model, method, **every_step(method))

    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(inputs)
        return F.cross_entropy(outputs, targets), outputs

    precondition.backward(closure, lr=0.02)
    good, inputs[3, 1] = inputs[3, 1].clone(), torch.inf
    precondition.backward(closure, lr=0.02)
    inputs[3, 1] = good
    precondition.backward(closure, lr=0.02)
    assert all(param.grad is not None and param.grad.isfinite().all() for param in model.parameters())


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_it_steps_on_a_gpu_as_on_a_cpu(method: str) -> None:
    gradients = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).to(device)
        inputs, targets = torch.randn(24, 5).to(device), torch.randint(3, (24,)).to(device)
        precondition = Preconditioner(model, method, **every_step(method))
        for _ in range(3):
            precondition.backward(partial(_loss_and_outputs, model, inputs, targets), lr=0.02)
        gradients.append(
            torch.cat([param.grad.flatten().cpu() for param in model.parameters() if param.grad is not None])
        )
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)


def _loss_and_outputs(model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    outputs: Tensor = model(inputs)
    return F.cross_entropy(outputs, targets), outputs


class Product(nn.Module):
    """Has a parameter, and no layer that anyone knows."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(4, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.matrix


@pytest.mark.filterwarnings("ignore:.*leaves these gradients")
@pytest.mark.parametrize("method", METHODS)
def test_the_catalog_says_who_can_do_nothing_without_layers(method: str) -> None:
    torch.manual_seed(0)
    model = Product()
    inputs, targets = torch.randn(24, 4), torch.randint(3, (24,))
    precondition = Preconditioner(model, method, **every_step(method))
    for _ in range(3):
        precondition.backward(partial(_loss_and_outputs, model, inputs, targets), lr=0.02)
    (plain,) = torch.autograd.grad(_loss_and_outputs(model, inputs, targets)[0], [model.matrix])
    assert model.matrix.grad is not None
    assert torch.allclose(model.matrix.grad, plain) == catalog.optimizer_info(method).layered


@pytest.mark.parametrize("method", METHODS)
def test_two_runs_are_the_same_to_the_bit(method: str) -> None:
    assert torch.equal(stepped(method, 3)[0], stepped(method, 3)[0])


@pytest.mark.parametrize("method", METHODS)
def test_it_stands_on_three_axes(method: str) -> None:
    record = METHODS[method]
    assert record.curvature in CURVATURES
    assert record.representation in REPRESENTATIONS
    assert record.solver in SOLVERS


@pytest.mark.parametrize("method", METHODS)
def test_the_catalog_has_its_options_with_ranges_and_source(method: str) -> None:
    info = catalog.optimizer_info(method)
    names = {option.name for option in info.options}
    assert {"lr", "momentum", "weight_decay"} <= names
    assert info.source
    searched = [option for option in info.options if option.search_low is not None]
    assert len(searched) >= 3
    for option in info.options:
        if option.name in {"damping", "interval", "curvature_interval"}:
            for wrong in (0, -1):
                given: dict[str, Any] = {option.name: wrong}
                with pytest.raises(ValueError, match=f"{option.name}: must be"):
                    Preconditioner(nn.Linear(2, 2), method, **given)


@pytest.mark.parametrize("method", METHODS)
def test_built_by_name_it_learns(method: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    inputs = torch.randn(64, 4)
    targets = (inputs[:, 0] * inputs[:, 1] > 0).long()
    optimizer = build(method, model, lr=0.02)

    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(inputs)
        return F.cross_entropy(outputs, targets), outputs

    def plain() -> float:
        optimizer.zero_grad()
        loss = closure()[0]
        torch.autograd.backward(loss)
        return loss.item()

    looks = METHODS[method].looks
    losses = [float(optimizer.step(closure if looks else plain)) for _ in range(25)]  # type: ignore[arg-type]
    assert losses[-1] < losses[0]
    again = build(method, model, lr=0.02)
    again.load_state_dict(optimizer.state_dict())
    again.step(closure if looks else plain)  # type: ignore[arg-type]


def _tensors(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state
    return [tensor for part in parts for tensor in _tensors(part)]
