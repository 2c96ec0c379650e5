"""The shell behaves as torch's own optimizers do: groups, state, schedulers, closures, refusals."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from optim import catalog
from optim.build import build


def leaf(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def backward(param: Tensor) -> None:
    (param**2).sum().backward()  # type: ignore[no-untyped-call]


def walk(optimizer: torch.optim.Optimizer, param: Tensor, steps: int) -> list[float]:
    for _ in range(steps):
        optimizer.zero_grad()
        backward(param)
        optimizer.step()
    values: list[float] = param.tolist()
    return values


@pytest.mark.parametrize("name", sorted(catalog.OPTIMIZERS))
def test_state_dict_round_trip_goes_on_as_if_never_stopped(name: str) -> None:
    whole = leaf(1.0, -2.0)
    wanted = walk(build(name, [whole], lr=0.05), whole, 20)

    first = leaf(1.0, -2.0)
    before = build(name, [first], lr=0.05)
    walk(before, first, 8)
    file = io.BytesIO()
    torch.save({"param": first, "optimizer": before.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = saved["param"].detach().requires_grad_()
    after = build(name, [second], lr=0.9)
    after.load_state_dict(saved["optimizer"])
    assert walk(after, second, 12) == wanted


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])  # noqa: S301 - our own
def test_copies_go_on(copier: object) -> None:
    param = leaf(1.0)
    optimizer = build("adam", [param])
    walk(optimizer, param, 3)
    assert callable(copier)
    twin, twin_param = copier((optimizer, param))
    assert walk(twin, twin_param, 3) == walk(optimizer, param, 3)


def test_groups_have_their_own_options() -> None:
    fast, slow, frozen = leaf(1.0), leaf(1.0), leaf(1.0)
    groups: list[dict[str, Any]] = [{"params": [fast], "lr": 0.5}, {"params": [slow]}, {"params": [frozen]}]
    optimizer = build("sgd", groups, lr=0.1)
    optimizer.param_groups[2]["lr"] = 0.0
    (fast + slow + frozen).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert [fast.item(), slow.item(), frozen.item()] == [0.5, 0.9, 1.0]


def test_parameters_without_gradient_keep_their_step_count() -> None:
    used, late = leaf(1.0), leaf(1.0)
    optimizer = build("adam", [used, late])
    walk(optimizer, used, 5)
    assert late.item() == 1.0
    assert late not in optimizer.state
    walk(optimizer, late, 1)
    assert late.item() == pytest.approx(1 - 1e-3, rel=1e-6)  # Adam's first step is the rate


@pytest.mark.parametrize("name", sorted(catalog.OPTIMIZERS))
def test_torchs_schedulers_work_on_it(name: str) -> None:
    param, peer = leaf(1.0), leaf(1.0)
    optimizer, reference = build(name, [param], lr=0.1), torch.optim.SGD([peer], lr=0.1)
    ours = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    theirs = torch.optim.lr_scheduler.StepLR(reference, step_size=2, gamma=0.5)
    for _ in range(6):
        walk(optimizer, param, 1)
        reference.step()
        ours.step()
        theirs.step()
        assert optimizer.param_groups[0]["lr"] == reference.param_groups[0]["lr"]


def test_the_rate_of_the_group_is_read_at_each_step() -> None:
    param = leaf(1.0)
    optimizer = build("sgd", [param], lr=0.1)
    optimizer.param_groups[0]["lr"] = 0.25
    backward(param)
    optimizer.step()
    assert param.item() == 0.5


def test_closure_runs_with_gradients_and_its_value_returns() -> None:
    param = leaf(3.0)
    optimizer = build("sgd", [param], lr=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = (param**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    assert optimizer.step(closure) == 9.0
    assert param.item() == pytest.approx(2.4)


def test_gradients_are_not_changed() -> None:
    param = leaf(1.0, 2.0)
    optimizer = build("adam", [param], weight_decay=0.5)
    backward(param)
    assert param.grad is not None
    before = param.grad.clone()
    optimizer.step()
    assert torch.equal(param.grad, before)


def test_refuses_unknown_names_and_values_out_of_range() -> None:
    params = [leaf(1.0)]
    with pytest.raises(ValueError, match="unknown optimizer 'sdg'; valid: sgd, momentum"):
        build("sdg", params)
    with pytest.raises(ValueError, match="sgd: momentum: not an option of sgd; valid: lr, weight_decay"):
        build("sgd", params, momentum=0.9)
    with pytest.raises(ValueError, match=r"adam: beta1: must be in \[0, 1\), got 1.5"):
        build("adam", params, beta1=1.5)
    with pytest.raises(ValueError, match=r"lr: .* got nan; adam: eps: .* got -1"):
        build("adam", params, lr=float("nan"), eps=-1)
    with pytest.raises(ValueError, match="sgd: beta1: not an option"):
        build("sgd", [{"params": params, "beta1": 0.9}])


def test_refuses_sparse_and_complex() -> None:
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = build("adam", embedding.parameters())
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="adam does not take sparse gradients"):
        optimizer.step()
    with pytest.raises(ValueError, match="sgd does not take complex parameters"):
        build("sgd", [torch.zeros(1, dtype=torch.complex64, requires_grad=True)])
