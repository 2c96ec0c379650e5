"""Products with Hessian and Gauss-Newton matrix are those with the matrices: one, many, of one network, of stacks."""

from collections.abc import Callable
from typing import Any

import curvlinops
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from optim.precondition.batch import Batch, Members, Pass
from optim.precondition.criteria import criterion
from optim.precondition.operations.products import CURVATURES, GAUSS_NEWTON, HESSIAN, dense, joined, product_of, split
from tests.optim.precondition import curved

BRUTE: dict[str, Callable[..., Tensor]] = {HESSIAN: curved.hessian, GAUSS_NEWTON: curved.gauss_newton}
EACH = pytest.mark.parametrize("name", CURVATURES)


@EACH
def test_the_matrix_of_one_network(name: str) -> None:
    own = curved.member(0, *curved.network(1))
    batch = curved.batch(*own)
    found = dense(product_of(batch, name), joined(batch.params, 0))
    torch.testing.assert_close(found, BRUTE[name](*own), rtol=0, atol=1e-12)


@EACH
def test_many_vectors_at_once_are_each_by_itself(name: str) -> None:
    whole = curved.network(3)
    batch = curved.batch(*whole)
    product = product_of(batch, name)
    rows = torch.randn(4, 3, joined(batch.params, 1).shape[-1], generator=torch.Generator().manual_seed(2)).double()
    torch.testing.assert_close(product(rows), torch.stack([product(row) for row in rows]), rtol=0, atol=1e-13)


@EACH
def test_stacked_networks_and_passes_made_one_by_one_have_each_their_own(name: str) -> None:
    whole = curved.network(3)
    wanted = torch.stack([BRUTE[name](*curved.member(place, *whole)) for place in range(3)])
    apart = Members([curved.batch(*curved.member(place, *whole)) for place in range(3)])
    for batch in (curved.batch(*whole), apart):
        found = dense(product_of(batch, name), joined(batch.params, 1))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_rows_are_cut_as_they_were_joined() -> None:
    params = [torch.randn(2, 3, 4), torch.randn(2), torch.randn(2, 1)]
    rows = joined(params, 1)
    assert rows.shape == (2, 14)
    for back, param in zip(split(rows, params, 1), params, strict=True):
        assert torch.equal(back, param)
    (many, _, _) = split(rows.expand(5, 2, 14), params, 1)
    assert many.shape == (5, 2, 3, 4)


def _convolutional() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, stride=2, groups=2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3)
    ).double()
    return net, torch.randn(6, 2, 4, 4, dtype=torch.float64), torch.randint(3, (6,))


@pytest.mark.parametrize(
    ("name", "operator"), [(HESSIAN, curvlinops.HessianLinearOperator), (GAUSS_NEWTON, curvlinops.GGNLinearOperator)]
)
def test_another_library_agrees_on_a_convolution(name: str, operator: Any) -> None:
    net, inputs, targets = _convolutional()
    params = dict(net.named_parameters())

    def run(moved: Any) -> Pass:
        outputs = torch.func.functional_call(net, dict(zip(params, moved, strict=True)), (inputs,))
        return Pass(F.cross_entropy(outputs, targets), outputs, ())

    batch = Batch(run, list(params.values()), (), criterion("cross_entropy"), torch.full((6,), 1 / 6))
    theirs = operator(net, nn.CrossEntropyLoss(), list(params.values()), [(inputs, targets)])
    like = joined([param.detach() for param in params.values()], 0)
    wanted = theirs @ torch.eye(len(like), dtype=like.dtype)
    torch.testing.assert_close(dense(product_of(batch, name), like), wanted.detach(), rtol=0, atol=1e-10)


def test_a_loss_of_other_outputs_is_refused() -> None:
    params, inputs, targets = curved.member(0, *curved.network(1))

    def run(moved: Any) -> Pass:
        return Pass(loss_of_another(moved), curved.outputs_of(moved, inputs), ())

    def loss_of_another(moved: Any) -> Tensor:
        return curved.loss_of(curved.outputs_of(moved, inputs), targets)

    leaves = [param.clone().requires_grad_() for param in params]
    batch = Batch(run, leaves, (), criterion("cross_entropy"), torch.full((12,), 1 / 12))
    with pytest.raises(ValueError, match="not made of the outputs"):
        batch.gauss_newton(params)


def test_outputs_that_are_not_known_are_asked_for() -> None:
    params, inputs, targets = curved.member(0, *curved.network(1))
    leaves = [param.clone().requires_grad_() for param in params]

    def run(moved: Any) -> Pass:
        return Pass(curved.loss_of(curved.outputs_of(moved, inputs), targets), None, ())

    batch = Batch(run, leaves, (), criterion("cross_entropy"), torch.full((12,), 1 / 12))
    with pytest.raises(ValueError, match='matrix="hessian"'):
        batch.gauss_newton(params)


def test_a_loss_without_curvature_has_products_of_zero() -> None:
    leaves = [torch.ones(2, dtype=torch.float64, requires_grad=True)]

    def run(moved: Any) -> Pass:
        outputs = moved[0].unsqueeze(0) * 3
        return Pass(outputs.sum(), outputs, ())

    batch = Batch(run, leaves, (), criterion("squared_error"), torch.ones(1))
    for multiply in (batch.product, batch.gauss_newton):
        assert torch.equal(multiply([torch.ones(2).double()])[0], torch.zeros(2).double())
        assert torch.equal(multiply([torch.ones(5, 2).double()])[0], torch.zeros(5, 2).double())
