"""SMW-NG is the natural gradient over all parameters, exactly."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.optim.precondition.cases import Case, along, flat, grouped, mlp, normalised, positions, step, wide


def _natural(case: Case, vector: Tensor, damping: float) -> Tensor:
    """Solve with the whole matrix."""
    slopes = flat(case.slopes(), 1)
    fisher = slopes.mT @ (slopes * case.weights.unsqueeze(1))
    found: Tensor = torch.linalg.solve(fisher + damping * torch.eye(len(fisher), dtype=fisher.dtype), vector)
    return found


@pytest.mark.parametrize("make", [mlp, wide, positions, grouped, normalised], ids=lambda make: make.__name__)
@pytest.mark.parametrize("damping", [1e-3, 0.5])
def test_it_is_the_whole_natural_gradient(make: Callable[[], Case], damping: float) -> None:
    case = make()
    wanted = _natural(case, flat(case.batch().gradients()), damping)
    torch.testing.assert_close(flat(step("smw_ngd", case, damping=damping)), wanted, rtol=1e-8, atol=1e-8)


def test_gradients_may_be_others_than_the_batchs() -> None:
    case = grouped()
    random = torch.Generator().manual_seed(4)
    given = [torch.randn(param.shape, generator=random, dtype=torch.float64) for param in case.params]
    found = flat(along("smw_ngd", case, given, damping=0.1))
    torch.testing.assert_close(found, _natural(case, flat(given), 0.1), rtol=1e-8, atol=1e-8)


def test_weights_of_examples_count() -> None:
    case = mlp()
    case.weights = torch.tensor([0.5, 0.2, 0.2, 0.1, 0.0, 0.0], dtype=torch.float64)
    wanted = _natural(case, flat(case.batch().gradients()), 1e-2)
    torch.testing.assert_close(flat(step("smw_ngd", case, damping=1e-2)), wanted, rtol=1e-8, atol=1e-8)
