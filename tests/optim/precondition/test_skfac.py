"""SKFAC is K-FAC with the curvature of the batch alone."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from optim.precondition.matrices import kronecker, swift
from optim.precondition.methods import METHODS
from tests.optim.precondition.cases import Case, grouped, mlp, normalised, options, positions, wide

STEPS, RATE = 7, 0.05


def _path(name: str, make: Callable[[], Case], **values: Any) -> list[list[Tensor]]:
    """Return what the method makes of the gradients at each step of a path that these lead along."""
    case = make()
    link = METHODS[name].link(case.batch(name).layers)
    state, found = link.init(case.params), []
    for _ in range(STEPS):
        batch = case.batch(name)
        new, state = link.step(batch.gradients(), state, case.params, options(name, **values), batch)
        found.append(new)
        case.params = [
            (param - RATE * each).detach().requires_grad_() for param, each in zip(case.params, new, strict=True)
        ]
    assert int(state.skipped) == 0
    return found


@pytest.mark.parametrize("make", [mlp, wide, positions, grouped, normalised], ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    "values",
    [
        {"interval": 1, "damping": 1e-3},
        {"interval": 3, "interval_warmup": 2, "damping": 0.1, "fisher": "exact"},
        {"interval": 2, "damping": 0.01, "fisher": "empirical"},
    ],
    ids=["every step", "with intervals", "empirical"],
)
def test_it_is_kfac_without_the_past(make: Callable[[], Case], values: dict[str, Any]) -> None:
    wanted = _path("kfac", make, curvature_beta=0.0, curvature_interval=1, **values)
    for found, own in zip(_path("skfac", make, **values), wanted, strict=True):
        _close(found, own)


def _close(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    for each, own in zip(found, wanted, strict=True):
        torch.testing.assert_close(each, own, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("count", [3, 8, 20])
def test_the_inverse_is_one_on_both_sides_of_woodbury(count: int) -> None:
    root = torch.randn(2, 4, count, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    damping = torch.linspace(0.01, 1.0, 8, dtype=torch.float64).reshape(2, 4)
    whole = root.mT @ root + damping[..., None, None] * torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(swift.inverse(root, damping) @ whole, torch.eye(8).double().expand_as(whole))


def test_factors_of_few_examples_are_not_formed() -> None:
    """Where examples are fewer than dimensions no matrix larger than they are is decomposed."""
    seen = wide().batch().seen("empirical", key=torch.tensor(0.0))[0]
    roots = kronecker.roots(seen)
    assert roots.inputs.shape[-2] < roots.inputs.shape[-1]
    damping = torch.tensor(0.1, dtype=torch.float64)
    for found, wanted in zip(
        swift.damped_inverse(seen, damping), kronecker.damped_inverse(kronecker.estimate(seen), damping), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)
