"""Gram matrices of examples, and what is made of them, equal those of gradients that are formed one by one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from optim.precondition.operations import gram
from optim.precondition.operations.gram import Examples
from tests.optim.precondition.cases import Case, flat, grouped, mlp, normalised, positions, wide

CASES = [mlp, wide, positions, grouped, normalised]
by_case = pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)


def _looked(case: Case) -> tuple[list[Examples], list[Tensor]]:
    """Return each layer's examples, and U (D, n) of each by brute force, in the order of its parameters."""
    batch = case.batch()
    roots = case.weights.sqrt().unsqueeze(1)
    slopes = case.slopes()
    columns = [(flat([slopes[place] for place in layer.places], 1) * roots).mT for layer in batch.layers]
    return [gram.examples(seen) for seen in batch.seen("empirical", key=torch.tensor(0.0))], columns


@by_case
def test_products_between_examples(make: Callable[[], Case]) -> None:
    for own, columns in zip(*_looked(make()), strict=True):
        torch.testing.assert_close(gram.gram(own), columns.mT @ columns, rtol=0, atol=1e-10)


@by_case
def test_products_with_a_matrix_and_combinations(make: Callable[[], Case]) -> None:
    case = make()
    random = torch.Generator().manual_seed(1)
    for layer, own, columns in zip(case.batch().layers, *_looked(case), strict=True):
        shapes = [case.params[place].shape for place in layer.places]
        given = [torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes]
        found = gram.products(own, gram.join(layer, given, 0))
        torch.testing.assert_close(found, columns.mT @ flat(given), rtol=0, atol=1e-10)
        amounts = torch.randn(columns.shape[1], generator=random, dtype=torch.float64)
        back = gram.split(layer, gram.combined(own, amounts), given)
        torch.testing.assert_close(flat(back), columns @ amounts, rtol=0, atol=1e-10)


def test_both_ways_to_the_matrix_are_taken() -> None:
    """Of many positions gradients are formed, of few not; the linear layers at three positions are on both sides."""
    found = [own for own, _ in zip(*_looked(positions()), strict=True)]
    few = [own.rows.shape[-2] ** 2 * (own.rows.shape[-1] + own.columns.shape[-1]) for own in found[:2]]
    sizes = [own.rows.shape[-1] * own.columns.shape[-1] for own in found[:2]]
    assert few[0] > sizes[0]
    assert _looked(wide())[0][0].rows.shape[-2] == 1


def test_no_solution_is_not_finite() -> None:
    bad = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    found = gram.solve(torch.ones(2, dtype=torch.float64), bad, torch.tensor(0.5, dtype=torch.float64))
    assert found.isnan().all()
