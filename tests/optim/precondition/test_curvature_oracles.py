"""Curvature as curvlinops computes it: the Gauss-Newton matrix, the empirical Fisher, Kronecker factors."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from curvlinops import (
    EFLinearOperator,
    FisherType,
    GGNLinearOperator,
    HessianLinearOperator,
    KFACLinearOperator,
    KFACType,
)
from torch import Tensor, nn

from optim.precondition.algorithms import full
from optim.precondition.batch import Batch
from optim.precondition.matrices.kronecker import KRONECKER
from tests.optim.precondition.looking import batch_of, order

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
EXAMPLES = 6
KEY = torch.tensor(0)
CLOSE: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-10}
CRITERIA: dict[str, nn.Module] = {"cross_entropy": nn.CrossEntropyLoss(), "squared_error": nn.MSELoss()}
FISHERS = {"exact": FisherType.TYPE2, "empirical": FisherType.EMPIRICAL}


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def _network(positions: str) -> tuple[nn.Module, Tensor]:
    if positions == "one":
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), torch.randn(EXAMPLES, 4)
    picture = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    return nn.Sequential(picture, nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)), torch.randn(EXAMPLES, 2, 4, 4)


def _given(loss: str, positions: str) -> tuple[nn.Module, Tensor, Tensor, Batch]:
    module, inputs = _network(positions)
    targets = torch.randint(3, (EXAMPLES,)) if loss == "cross_entropy" else torch.randn(EXAMPLES, 3)
    return module, inputs, targets, batch_of(module, inputs, targets, loss)


def _dense(operator: Any) -> Tensor:
    matrix: Tensor = operator @ torch.eye(operator.shape[1])
    return matrix


def _orders(batch: Batch) -> list[Tensor]:
    return [order(layer, [param.shape for param in batch.params]).flatten() for layer in batch.layers]


CASES = pytest.mark.parametrize(
    ("loss", "positions"), [(loss, positions) for loss in CRITERIA for positions in ("one", "many")]
)


def _scale(loss: str, source: str, targets: Tensor) -> float:
    """How many times ours theirs is: to them the loss of an example is the sum of squares, and its mean a factor outside."""
    return targets.shape[-1] if (loss, source) == ("squared_error", "empirical") else 1


@CASES
@pytest.mark.parametrize(("source", "operator"), [("exact", GGNLinearOperator), ("empirical", EFLinearOperator)])
def test_the_whole_matrix(loss: str, positions: str, source: str, operator: Any) -> None:
    module, inputs, targets, batch = _given(loss, positions)
    wanted = _dense(operator(module, CRITERIA[loss], list(module.parameters()), [(inputs, targets)]))
    (found,) = full.matrix(batch.seen(source, key=KEY))
    places = torch.cat(_orders(batch))
    torch.testing.assert_close(_scale(loss, source, targets) * found, wanted[places][:, places], **CLOSE)


@CASES
def test_kronecker_factors(loss: str, positions: str) -> None:
    module, inputs, targets, batch = _given(loss, positions)
    for source, fisher in FISHERS.items():
        # Over all positions, the bias joined to the weight.
        operator = KFACLinearOperator(
            module,
            CRITERIA[loss],
            list(module.parameters()),
            [(inputs, targets)],
            fisher_type=fisher,
            kfac_approx=KFACType.EXPAND,
            separate_weight_and_bias=False,
        )
        wanted = _dense(operator)
        for seen, places in zip(batch.seen(source, key=KEY), _orders(batch), strict=True):
            (found,) = KRONECKER.dense(KRONECKER.estimate(seen))
            torch.testing.assert_close(_scale(loss, source, targets) * found, wanted[places][:, places], **CLOSE)


@CASES
def test_products_with_the_hessian(loss: str, positions: str) -> None:
    module, inputs, targets, batch = _given(loss, positions)
    operator = HessianLinearOperator(module, CRITERIA[loss], list(module.parameters()), [(inputs, targets)])
    vector = torch.randn(operator.shape[1])
    ends = torch.tensor([0, *(param.numel() for param in batch.params)]).cumsum(dim=0).tolist()
    cut = [
        vector[slice(*reach)].reshape(param.shape) for reach, param in zip(pairwise(ends), batch.params, strict=True)
    ]
    found = torch.cat([product.flatten() for product in batch.product(cut)])
    torch.testing.assert_close(found, operator @ vector, **CLOSE)
