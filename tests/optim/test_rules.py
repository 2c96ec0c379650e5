"""Every rule against torch.optim, and a stacked population against its members run alone."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from optim import catalog
from optim.build import build, build_rule
from optim.precondition.methods import METHODS
from optim.rule_table import RULES
from optim.transform import align
from tests.optim.matrix_references import MATRIX
from tests.optim.peers import CASES, IDS, PEERS, PROBLEMS, Problem
from tests.optim.references import ELEMENTWISE

STEPS = 300


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # others would only wait for each other over tensors this small
    yield
    torch.set_num_threads(threads)


def descend(problem: Problem, make: Callable[[list[Tensor]], torch.optim.Optimizer]) -> Tensor:
    """Take STEPS steps and return every parameter after each of them."""
    params, loss = problem()
    optimizer, path = make(params), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        path.append(flat(params))
    return torch.stack(path)


def descend_by_rule(problem: Problem, name: str, options: Mapping[str, Any]) -> Tensor:
    """Do the same with the rule itself, which no kernel stands in for."""
    params, loss = problem()
    rule, path = build_rule(name), []
    hyper = {option: torch.as_tensor(value, dtype=torch.float64) for option, value in options.items()}
    state = rule.init(params)
    for _ in range(STEPS):
        grads = torch.autograd.grad(loss(), params)
        with torch.no_grad():
            updates, state = rule.update(grads, state, params, hyper)
            for param, update in zip(params, updates, strict=True):
                param.add_(update)
        path.append(flat(params))
    return torch.stack(path)


def flat(params: list[Tensor]) -> Tensor:
    return torch.cat([param.detach().flatten() for param in params])


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize(("name", "given"), CASES, ids=IDS)
def test_equals_torch(name: str, given: dict[str, Any], problem: str) -> None:
    options = catalog.complete(catalog.optimizer_info(name), given)
    reference = descend(PROBLEMS[problem], lambda params: PEERS[name](params, dict(options)))
    built = descend(PROBLEMS[problem], lambda params: build(name, params, **options))
    ruled = descend_by_rule(PROBLEMS[problem], name, options)
    assert not torch.equal(reference[-1], reference[0])
    assert (built - reference).abs().max() <= 1e-12
    assert (ruled - reference).abs().max() <= 1e-12


def test_every_catalog_name_is_compared() -> None:
    compared = {name for name, _ in CASES}
    assert compared == set(PEERS)
    assert compared | set(ELEMENTWISE) | set(MATRIX) | set(METHODS) == set(catalog.OPTIMIZERS) == set(RULES)


@pytest.mark.parametrize("name", sorted(PEERS))
def test_update_changes_nothing_it_was_given(name: str) -> None:
    rule = build_rule(name)
    hyper = {option.name: torch.tensor(option.default) for option in catalog.OPTIMIZERS[name].options}
    params, grads = [torch.ones(2, 2)], [torch.full((2, 2), 0.5)]
    state = rule.init(params)
    first, _ = rule.update(grads, state, params, hyper)
    second, _ = rule.update(grads, state, params, hyper)
    assert torch.equal(first[0], second[0])
    assert torch.equal(params[0], torch.ones(2, 2))
    assert torch.equal(grads[0], torch.full((2, 2), 0.5))


def test_adagrad_rates_never_grow() -> None:
    rule = build_rule("adagrad")
    hyper = {option.name: torch.tensor(option.default) for option in catalog.OPTIMIZERS["adagrad"].options}
    params = [torch.zeros(3)]
    state, last = rule.init(params), torch.full((3,), torch.inf)
    for step in range(20):
        grad = torch.tensor([1.0, -2.0, 0.1]) * (step + 1)
        updates, state = rule.update([grad], state, params, hyper)
        rate = (updates[0] / grad).abs()
        assert bool((rate <= last).all())
        last = rate


def test_adam_first_step_is_the_learning_rate() -> None:
    rule = build_rule("adam")
    hyper = {option.name: torch.tensor(option.default) for option in catalog.OPTIMIZERS["adam"].options}
    params = [torch.zeros(2, dtype=torch.float64)]
    [update], _ = rule.update([torch.tensor([5.0, -0.01], dtype=torch.float64)], rule.init(params), params, hyper)
    assert update.tolist() == pytest.approx([-1e-3, 1e-3], rel=1e-5)


def test_align_adds_trailing_axes_and_casts_members_only() -> None:
    like = torch.zeros(3, 2, 2, dtype=torch.float32)
    members = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert align(members, like).shape == (3, 1, 1)
    assert align(members, like).dtype == torch.float32
    scalar = torch.tensor(1e-20, dtype=torch.float64)
    assert align(scalar, like) is scalar
