"""What all that keep curvature share: what a step is prepared for, and what is finite."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim.catalog import optimizer_info
from optim.precondition.algorithms.scheduled import finite
from optim.precondition.interface import Preconditioner
from optim.precondition.methods import METHODS
from optim.transform import LAYERS, PRODUCTS, SLOPES

LOOKING = [name for name, method in METHODS.items() if method.looks]
# What may be prepared whatever is asked; and nothing, which is right only where nothing is asked about layers.
WAYS: tuple[Collection[str] | None, ...] = (None, (LAYERS,), (LAYERS, SLOPES), (LAYERS, PRODUCTS))


def gradients(method: str, asked: Collection[str] | None) -> list[Tensor]:
    """Return the gradients of eight steps at which not always something is due, prepared as asked or as given."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    own = {option.name for option in optimizer_info(method).options}
    given: dict[str, Any] = {
        name: steps for name, steps in {"interval": 3, "curvature_interval": 2}.items() if name in own
    }
    precondition, found = Preconditioner(model, method, **given), []
    for _ in range(8):
        inputs, targets = torch.randn(6, 4).double(), torch.randint(3, (6,))

        def closure(inputs: Tensor = inputs, targets: Tensor = targets) -> tuple[Tensor, Tensor]:
            outputs = model(inputs)
            return F.cross_entropy(outputs, targets), outputs

        precondition.backward(closure, lr=0.01)
        if asked is not None:
            precondition._link = replace(precondition._link, asks=lambda *_: asked)
        found.append(torch.cat([param.grad.flatten() for param in model.parameters() if param.grad is not None]))
    return found


@pytest.mark.parametrize("method", LOOKING)
def test_what_is_prepared_is_enough_and_changes_nothing(method: str) -> None:
    wanted, *others = (gradients(method, way) for way in WAYS)
    for other in others:
        assert all((one - two).abs().max() <= 1e-9 * two.abs().max() for one, two in zip(wanted, other, strict=True))


@pytest.mark.parametrize("worse", [torch.nan, torch.inf, -torch.inf])
def test_each_member_is_finite_or_not_by_itself(worse: float) -> None:
    tensors = [torch.ones(3, 2, 2), torch.ones(3)]
    assert finite(tensors, torch.ones(3, dtype=torch.bool)).tolist() == [True, True, True]
    tensors[0][1, 0, 1] = worse
    assert finite(tensors, torch.ones(3, dtype=torch.bool)).tolist() == [True, False, True]
    assert not finite([tensor[1] for tensor in tensors], torch.tensor(True))


def test_what_is_large_is_finite() -> None:
    large = torch.full((2, 3, 3), torch.finfo(torch.float32).max)
    assert finite([large], torch.ones(2, dtype=torch.bool)).all()
    assert finite([large[0]], torch.tensor(True))
    assert finite([], torch.tensor(True))
