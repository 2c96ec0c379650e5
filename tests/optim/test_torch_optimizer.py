"""The shell behaves as torch's own optimizers do: groups, state, schedulers, closures, refusals."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from optim.build import build
from optim.kernels import KERNELS
from tests.support.optimizers import STEPPED


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


@pytest.mark.parametrize("name", STEPPED)
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


@pytest.mark.parametrize("name", STEPPED)
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


def test_options_that_a_saved_group_does_not_have_take_their_defaults() -> None:
    param = leaf(1.0)
    optimizer = build("rmsprop", [param], centered=True)
    saved = optimizer.state_dict()
    del saved["param_groups"][0]["centered"]
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["centered"] is False


@pytest.mark.parametrize("name", STEPPED)
def test_gradient_scaling_changes_no_step(name: str) -> None:
    """And a step whose scaled gradients overflow is left out."""
    scaled, plain = leaf(1.0, -2.0), leaf(1.0, -2.0)
    optimizer, reference = build(name, [scaled]), build(name, [plain])
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for index in range(5):
        optimizer.zero_grad()
        factor = torch.inf if index == 2 else 1.0
        scaler.scale((scaled**2).sum() * factor).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
    walk(reference, plain, 4)
    assert torch.allclose(scaled, plain, rtol=1e-13, atol=0)


def laid_out(name: str, first: Tensor, second: Tensor) -> list[Tensor]:
    """Step two parameters together and return them, their elements in one order."""
    params = [first, second]
    optimizer = build(name, params, lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        weights = torch.arange(1.0, 7.0, dtype=first.dtype).reshape(2, 3)
        (((first - 0.5) ** 2 + (second - 0.5) ** 2) * weights).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return [param.detach().clone(memory_format=torch.contiguous_format) for param in params]


START = torch.linspace(-2, 2, 6, dtype=torch.float64).reshape(2, 3)
LAYOUTS: dict[str, Callable[[], Tensor]] = {
    "transposed": lambda: START.mT.contiguous().mT,
    "strided": lambda: torch.stack([START, START], dim=-1)[..., 0],
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_layout_does_not_matter(name: str, layout: str) -> None:
    wanted = laid_out(name, START.clone().requires_grad_(), START.clone().requires_grad_())
    got = laid_out(name, LAYOUTS[layout]().requires_grad_(), START.clone().requires_grad_())
    for ours, theirs in zip(got, wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_gradient_laid_out_unlike_its_parameter(name: str) -> None:
    one, other = START.clone().requires_grad_(), START.clone().requires_grad_()
    ours, theirs = build(name, [one]), build(name, [other])
    for _ in range(3):
        grad = torch.sin(one.detach())
        one.grad, other.grad = grad.mT.contiguous().mT, grad
        ours.step()
        theirs.step()
    assert torch.allclose(one, other, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_state_laid_out_unlike_its_parameter(name: str) -> None:
    """A parameter may be turned into another layout or dtype after its state was made."""
    one, other = START.clone().requires_grad_(), START.clone().requires_grad_()
    ours, theirs = build(name, [one]), build(name, [other])
    walk(ours, one, 2)
    walk(theirs, other, 2)
    one.data = one.data.mT.contiguous().mT
    walk(ours, one, 2)
    walk(theirs, other, 2)
    assert torch.allclose(one, other, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_dtypes_may_be_mixed_in_a_group(name: str) -> None:
    """What no kernel takes is stepped by the rule, each in its own precision."""
    mixed = [START.clone(), START.float(), START.bfloat16()]
    got = [param.requires_grad_() for param in mixed]
    optimizer = build(name, got, lr=0.01)
    singles = [param.detach().clone().requires_grad_() for param in mixed]
    alone = [build(name, [param], lr=0.01) for param in singles]
    for _ in range(3):
        optimizer.zero_grad()
        for param, single, own in zip(got, singles, alone, strict=True):
            backward(param)
            walk(own, single, 1)
        optimizer.step()
    for param, single, tolerance in zip(got, singles, (1e-13, 1e-6, 1e-2), strict=True):
        assert param.dtype == single.dtype
        assert torch.allclose(param, single, rtol=tolerance)
        for value in optimizer.state[param].values():
            assert value.ndim == 0 or value.dtype == param.dtype


@pytest.mark.parametrize("name", STEPPED)
def test_one_cycle_sets_the_rate_and_where_there_is_one_the_momentum(name: str) -> None:
    param = leaf(1.0)
    optimizer = build(name, [param])
    cycles = "momentum" in optimizer.defaults
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10, cycle_momentum=cycles)
    walk(optimizer, param, 1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.004)
    if cycles:
        assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.95)
    # A group with the keys that schedulers leave behind is taken as it is.
    held = {**optimizer.param_groups[0], "swa_lr": 0.1, "params": [leaf(2.0)]}
    optimizer.add_param_group(held)
    assert len(optimizer.param_groups) == 2


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_a_momentum_that_was_zero_for_a_while_forgets_nothing(name: str) -> None:
    """The kernel keeps no velocity at a momentum of 0; the rule does."""
    fast, slow = leaf(1.0, -2.0), leaf(1.0, -2.0)
    optimizer, rule_alone = build(name, [fast], momentum=0.0), build(name, [slow], momentum=0.0)
    rule_alone._kernel = None
    for momentum in (0.0, 0.9, 0.0, 0.5):
        for each, param in ((optimizer, fast), (rule_alone, slow)):
            each.param_groups[0]["momentum"] = momentum
            walk(each, param, 2)
    assert torch.allclose(fast, slow, rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", STEPPED)
def test_evaluation_gives_back_what_it_took(name: str) -> None:
    param, twin = leaf(1.0, -2.0), leaf(1.0, -2.0)
    optimizer, undisturbed = build(name, [param], lr=0.01), build(name, [twin], lr=0.01)
    walk(optimizer, param, 3)
    before = param.detach().clone()
    with pytest.raises(KeyError), optimizer.evaluation():  # noqa: PT012 - what it does for an error inside
        if optimizer._rule.view is None:
            assert torch.equal(param, before)
        raise KeyError
    assert torch.equal(param, before)
    assert walk(optimizer, param, 3) == walk(undisturbed, twin, 6)


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_a_step_inside_evaluation_is_refused(name: str) -> None:
    param = leaf(1.0)
    optimizer = build(name, [param], lr=0.01)
    walk(optimizer, param, 3)
    with optimizer.evaluation(), pytest.raises(RuntimeError, match="inside evaluation"):
        optimizer.step()
    walk(optimizer, param, 1)


@pytest.mark.parametrize("name", STEPPED)
def test_parameters_without_elements_are_no_hindrance(name: str) -> None:
    empty, full = torch.zeros(3, 0, dtype=torch.float64, requires_grad=True), leaf(1.0, -2.0)
    optimizer = build(name, [empty, full])
    for _ in range(12):
        optimizer.zero_grad()
        (empty.sum() + (full**2).sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert empty.shape == (3, 0)
    assert full.isfinite().all()
