"""Clipping, weight decay and averages against torch's, and populations of them against separate runs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from optim.links.averages import ema, swa
from optim.links.clip import by_layer, by_norm, by_value
from optim.links.decay import decoupled, l2
from optim.rules import momentum, sgd
from optim.transform import Rule, Tensors, chain, stack

CLIPS = {"clip_value": by_value, "clip_norm": by_norm, "clip_layer_norm": by_layer}


def drawn(seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Return tensors of two, one and no axes."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in ((3, 4), (3,), ())]


def hyper(**options: float | list[float]) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in options.items()}


def once(link: Rule[Any], grads: Tensors, /, *given: Tensors, **options: float | list[float]) -> Tensors:
    """Take one step of a link on gradients, and on parameters if any are given."""
    params = given[0] if given else grads
    return link.update(grads, link.init(params), params, hyper(**options))[0]


def with_grads(grads: Tensors) -> list[Tensor]:
    params = [torch.zeros_like(grad).requires_grad_() for grad in grads]
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad.clone()
    return params


def clipped_by_torch(clip: Callable[[list[Tensor]], object], grads: Tensors) -> list[Tensor]:
    params = with_grads(grads)
    clip(params)
    return [param.grad for param in params if param.grad is not None]


def assert_same(ours: Tensors, theirs: Tensors, tolerance: float = 1e-15) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        assert torch.allclose(one, other, rtol=tolerance, atol=0, equal_nan=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-15), (torch.float32, 1e-6)])
@pytest.mark.parametrize("bound", [0.01, 1.0, 3.0, 1e3])
def test_clips_as_torch_does(bound: float, dtype: torch.dtype, tolerance: float) -> None:
    grads = drawn(1, dtype)
    by_torchs_norm = clipped_by_torch(lambda params: clip_grad_norm_(params, bound), grads)
    assert_same(once(by_norm, grads, clip_norm=bound), by_torchs_norm, tolerance)
    by_torchs_value = clipped_by_torch(lambda params: clip_grad_value_(params, bound), grads)
    assert_same(once(by_value, grads, clip_value=bound), by_torchs_value, tolerance)
    layers = [clipped_by_torch(lambda params: clip_grad_norm_(params, bound), [grad])[0] for grad in grads]
    assert_same(once(by_layer, grads, clip_layer_norm=bound), layers, tolerance)


@pytest.mark.parametrize(("option", "link"), CLIPS.items())
def test_a_bound_of_zero_clips_nothing(option: str, link: Rule[Any]) -> None:
    grads = [1e6 * grad for grad in drawn(2)]
    assert_same(once(link, grads, **{option: 0.0}), grads, 0.0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_gradients_that_are_no_numbers_stay_visible(bad: float) -> None:
    grads = drawn(3)
    grads[1][0] = bad
    together = clipped_by_torch(lambda params: clip_grad_norm_(params, 1.0), grads)
    assert_same(once(by_norm, grads, clip_norm=1.0), together)
    layers = once(by_layer, grads, clip_layer_norm=1.0)
    assert layers[1].isnan().any()
    assert_same([layers[0], layers[2]], once(by_layer, [grads[0], grads[2]], clip_layer_norm=1.0), 0.0)
    assert_same(
        once(by_value, grads, clip_value=1.0), clipped_by_torch(lambda params: clip_grad_value_(params, 1.0), grads)
    )


@pytest.mark.parametrize(("option", "link"), CLIPS.items())
def test_members_clip_by_their_own_gradients(option: str, link: Rule[Any]) -> None:
    """One member has no bound, and one's gradients are no numbers: the others see nothing of it."""
    bounds = [0.0, 0.5, 2.0, 1.0, 1e3]
    members = [drawn(seed) for seed in range(len(bounds))]
    members[3][0][0, 0] = torch.nan
    together = once(link, [torch.stack(parts) for parts in zip(*members, strict=True)], **{option: bounds})
    for index, (bound, grads) in enumerate(zip(bounds, members, strict=True)):
        assert_same([grad[index] for grad in together], once(link, grads, **{option: bound}), 1e-14)


def test_decays_as_written() -> None:
    grads, params = drawn(4), drawn(5)
    assert_same(
        once(l2, grads, params, weight_decay=0.3), [g + 0.3 * p for g, p in zip(grads, params, strict=True)], 1e-14
    )
    shrunk = once(decoupled, grads, params, weight_decay=0.3, lr=0.1)
    assert_same(shrunk, [g - 0.03 * p for g, p in zip(grads, params, strict=True)], 1e-14)
    for link in (l2, decoupled):
        assert_same(once(link, grads, params, weight_decay=0.0, lr=0.1), grads, 0.0)


def test_clipping_sees_what_stands_before_it() -> None:
    """Before the decay it clips the gradient, behind it the sum; the two differ, and each is what torch gives."""
    grads, params = drawn(6), drawn(7)
    options = {"clip_norm": 0.5, "weight_decay": 0.3, "lr": 1.0}
    first = once(chain(by_norm, l2, sgd.RULE), grads, params, **{**options, "weight_decay": 0.3})
    sums = [g + 0.3 * p for g, p in zip(grads, params, strict=True)]
    clipped = clipped_by_torch(lambda given: clip_grad_norm_(given, 0.5), grads)
    # `sgd` itself adds the decay once more.
    wanted = [-(g + 0.6 * p) for g, p in zip(clipped, params, strict=True)]
    assert_same(first, wanted, 1e-13)
    second = once(chain(l2, by_norm), grads, params, **options)
    assert_same(second, clipped_by_torch(lambda given: clip_grad_norm_(given, 0.5), sums), 1e-14)


def walk(rule: Rule[Any], steps: int, **options: float) -> tuple[list[list[Tensor]], list[Tensor]]:
    """Take steps down a quadratic: the parameters after each of them, and what the rule's view is at the end."""
    settings = hyper(**options)
    params = drawn(8)
    state, path = rule.init(params), []
    for _ in range(steps):
        updates, state = rule.update([param - 1 for param in params], state, params, settings)
        params = [param + update for param, update in zip(params, updates, strict=True)]
        path.append(params)
    return path, rule.evaluated(params, state, settings)


def averaged_by_torch(start: list[Tensor], path: list[list[Tensor]], **options: Any) -> list[Tensor]:
    """Feed parameters to torch's averages, the first ones being what they begin with."""
    model = torch.nn.Module()
    for index, value in enumerate(start):
        model.register_parameter(str(index), torch.nn.Parameter(value.clone()))
    averaged = AveragedModel(model, **options)
    averaged.update_parameters(model)
    for params in path:
        for param, value in zip(model.parameters(), params, strict=True):
            param.data.copy_(value)
        averaged.update_parameters(model)
    return [param.detach() for param in averaged.module.parameters()]


BASE = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.99])
def test_ema_is_torchs(weight: float) -> None:
    path, view = walk(chain(momentum.RULE, ema), 40, ema=weight, **BASE)
    averaging = get_ema_multi_avg_fn(weight)  # type: ignore[no-untyped-call]
    assert_same(view, averaged_by_torch(drawn(8), path, multi_avg_fn=averaging), 1e-13)


@pytest.mark.parametrize("start", [0, 1, 7, 39])
def test_swa_is_torchs_running_mean_from_its_first_step_on(start: int) -> None:
    path, view = walk(chain(momentum.RULE, swa), 40, swa_start=start, **BASE)
    assert_same(view, averaged_by_torch(path[start], path[start + 1 :]), 1e-13)


def test_swa_is_the_parameters_themselves_before_its_first_step() -> None:
    path, view = walk(chain(momentum.RULE, swa), 5, swa_start=5, **BASE)
    assert_same(view, path[-1], 0.0)


@pytest.mark.parametrize("average", [ema, swa])
def test_an_average_leaves_the_steps_alone(average: Rule[Any]) -> None:
    plain, _ = walk(momentum.RULE, 10, **BASE)
    averaged, _ = walk(chain(momentum.RULE, average), 10, ema=0.9, swa_start=2, **BASE)
    assert_same(averaged[-1], plain[-1], 0.0)


def test_members_of_a_whole_chain_equal_separate_runs() -> None:
    """Members that clip by any of the bounds or by none, decay or not, and average differently."""
    rule = chain(by_value, by_norm, by_layer, momentum.RULE, decoupled, ema, swa)
    options: dict[str, list[float]] = {
        "clip_value": [0.0, 0.5, 0.0, 0.0, 0.2],
        "clip_norm": [0.0, 0.0, 1.0, 0.0, 0.4],
        "clip_layer_norm": [0.0, 0.0, 0.0, 0.5, 0.1],
        "lr": [0.1, 0.05, 0.2, 0.01, 0.1],
        "momentum": [0.0, 0.9, 0.5, 0.99, 0.8],
        "weight_decay": [0.0, 0.1, 0.0, 0.3, 0.01],
        "ema": [0.0, 0.9, 0.99, 0.5, 0.1],
        "swa_start": [0.0, 3.0, 50.0, 10.0, 29.0],
    }

    def run(state: Any, params: list[Tensor], settings: dict[str, Tensor]) -> tuple[list[Tensor], Any]:
        for _ in range(30):
            updates, state = rule.update([torch.sinh(param - 1) for param in params], state, params, settings)
            params = [param + update for param, update in zip(params, updates, strict=True)]
        return params, state

    members = [drawn(seed) for seed in range(5)]
    start = [torch.stack(parts) for parts in zip(*members, strict=True)]
    params, state = run(stack([rule.init(member) for member in members]), start, hyper(**options))
    views = {link: link.evaluated([], own, {}) for link, own in ((ema, state[5]), (swa, state[6]))}
    for index, member in enumerate(members):
        settings = hyper(**{name: values[index] for name, values in options.items()})
        alone, own = run(rule.init(member), member, settings)
        assert_same([param[index] for param in params], alone, 1e-12)
        assert_same([average[index] for average in views[ema]], own[5].average, 1e-12)
        assert_same([average[index] for average in views[swa]], own[6].average, 1e-12)


def test_the_view_of_a_chain_is_that_of_its_last_link_that_has_one() -> None:
    _, view = walk(chain(momentum.RULE, ema, swa), 6, ema=0.9, swa_start=3, **BASE)
    path, _ = walk(momentum.RULE, 6, **BASE)
    assert_same(view, [torch.stack(parts).mean(dim=0) for parts in zip(*path[3:], strict=True)], 1e-13)


@pytest.mark.parametrize("link", [l2, decoupled, by_value, by_norm, by_layer, ema, swa])
def test_a_link_changes_nothing_it_was_given(link: Rule[Any]) -> None:
    grads, params = drawn(9), drawn(10)
    kept = [value.clone() for value in (*grads, *params)]
    once(
        link, grads, params,
        clip_value=0.1, clip_norm=0.1, clip_layer_norm=0.1, lr=0.1, weight_decay=0.1, ema=0.9, swa_start=0,
    )  # fmt: skip
    assert_same([*grads, *params], kept, 0.0)
