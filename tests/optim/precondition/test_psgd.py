"""PSGD: its step is down the criterion, and what it comes to is the inverse of the absolute Hessian, or whitens gradients."""

import math
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from optim.precondition import draws
from optim.precondition.algorithms.psgd import LONGEST, balanced, fitted, psgd, psgd_full
from tests.optim.precondition.looked import alone, examples, hyper, look, start, together

METHODS = {"psgd": psgd(()), "psgd_full": psgd_full(())}
RATE = torch.tensor(0.05, dtype=torch.float64)
OPTIONS = {"precond_lr": RATE, "slope_beta": torch.zeros_like(RATE)}


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def triangle(size: int, seed: int) -> Tensor:
    return random(size, size, seed=seed).triu(1) + torch.diag(random(size, seed=seed).abs() + 0.5)


def symmetric(size: int, seed: int) -> Tensor:
    whole = random(size, size, seed=seed)
    return whole + whole.T


def root(matrix: Tensor) -> Tensor:
    """Return the inverse square root of a positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    found: Tensor = vectors @ torch.diag(values**-0.5) @ vectors.T
    return found


def criterion(factor: Tensor, vector: Tensor, product: Tensor) -> Tensor:
    """Return h^T P h + v^T P^-1 v with P = Q^T Q written out."""
    p = factor.T @ factor
    found: Tensor = product @ p @ product + vector @ torch.linalg.solve(p, vector)
    return found


def moved_by(gradient: Tensor, factor: Tensor) -> Tensor:
    return factor - RATE / gradient.abs().max() * gradient @ factor


def test_a_step_is_down_the_slope_of_the_criterion_along_the_group() -> None:
    left, right, vector, product = triangle(3, 1), triangle(4, 2), random(3, 4, seed=3), random(3, 4, seed=4)
    leaves = [torch.zeros(size, size, dtype=torch.float64, requires_grad=True) for size in (3, 4)]
    whole = torch.kron(left + leaves[0] @ left, right + leaves[1] @ right)
    slopes = torch.autograd.grad(criterion(whole, vector.flatten(), product.flatten()), leaves)
    wanted = balanced(
        [moved_by(slope.triu() / 2, factor) for slope, factor in zip(slopes, (left, right), strict=True)], 0
    )
    got, sizes = fitted([left, right], [torch.full((1,), 1e9).double()] * 2, vector, product, OPTIONS)
    assert all((one - other).abs().max() <= 1e-10 for one, other in zip(got, wanted, strict=True))
    assert [float(size) for size in sizes] == pytest.approx([float(slope.triu().abs().max() / 2) for slope in slopes])
    assert all(torch.equal(factor, factor.triu()) and bool((factor.diagonal() > 0).all()) for factor in got)


def test_a_diagonal_moves_as_the_diagonal_of_a_triangle_would() -> None:
    diagonal, right = random(3, seed=1).abs() + 0.5, triangle(4, 2)
    vector, product = random(3, 4, seed=3), random(3, 4, seed=4)
    leaf = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    whole = torch.kron(torch.diag(diagonal + leaf * diagonal), right)
    (slope,) = torch.autograd.grad(criterion(whole, vector.flatten(), product.flatten()), leaf)
    moved = diagonal - RATE / slope.abs().max() * slope * diagonal
    (first, second), _ = fitted([diagonal, right], [torch.zeros(1).double()] * 2, vector, product, OPTIONS)
    assert (first / first[0] - moved / moved[0]).abs().max() <= 1e-10
    assert second.shape == (4, 4)


def test_balancing_leaves_the_product() -> None:
    left, right = triangle(3, 1) * 100, triangle(4, 2) / 7
    one, other = balanced([left, right], 0)
    assert (torch.kron(one, other) - torch.kron(left, right)).abs().max() <= 1e-10
    assert one.abs().max().item() == pytest.approx(other.abs().max().item())


def learned(
    shape: tuple[int, ...], of: Callable[[int, Tensor], Tensor], *, steps: int = 3000, beta: float = 0.0
) -> Tensor:
    """Return P of triangles that were fitted to so many pairs, at a rate that falls to nothing."""
    factors, sizes = [torch.eye(size).double() for size in shape], [torch.zeros(1).double() for _ in shape]
    for step in range(steps):
        vector = draws.normal(torch.tensor(step), math.prod(shape)).double()
        options = hyper("psgd", precond_lr=0.1 * (1 - step / steps), slope_beta=beta)
        factors, sizes = fitted(
            factors, sizes, vector.reshape(shape[0], -1), of(step, vector).reshape(shape[0], -1), options
        )
    return reduce(torch.kron, [factor.T @ factor for factor in factors])


@pytest.mark.parametrize("shape", [(9,), (3, 3)])
def test_it_comes_to_the_inverse_of_the_absolute_hessian(shape: tuple[int, ...]) -> None:
    """Of a matrix with eigenvalues of both signs that is a Kronecker product, with one factor and with two."""
    hessian = torch.kron(symmetric(3, 11), symmetric(3, 12))
    assert torch.linalg.eigvalsh(hessian)[0] < -0.1
    found, wanted = learned(shape, lambda _, vector: hessian @ vector), root(hessian @ hessian)
    assert (found - wanted).norm() <= 0.1 * wanted.norm()


def test_pairs_of_gradients_whiten_and_damping_bounds() -> None:
    """Gradients are noise of a known covariance, with a direction in which there is none."""
    mixing = torch.zeros(3, 3, dtype=torch.float64)
    mixing[:2, :2] = triangle(2, 21)

    def gradient(step: int, _: Tensor) -> Tensor:
        noise, damped = (draws.normal(torch.tensor(step), 3, salt=salt).double() for salt in (7, 8))
        found: Tensor = mixing @ noise + 0.1 * damped
        return found

    found, wanted = learned((3,), gradient), root(mixing @ mixing.T + 0.01 * torch.eye(3))
    assert wanted.max().item() == pytest.approx(10.0)
    assert (found - wanted).norm() <= 0.1 * wanted.norm()


def test_a_size_that_remembers_keeps_small_slopes_small() -> None:
    """Of ten gradients nine are next to nothing: P is of their mean square, and not of the nine."""

    def gradient(step: int, _: Tensor) -> Tensor:
        return draws.normal(torch.tensor(step), 2, salt=9).double() * (10**0.5 if step % 10 == 0 else 1e-3)

    remembering, each = (learned((2,), gradient, steps=3000, beta=beta) for beta in (0.99, 0.0))
    assert (remembering - torch.eye(2)).norm() <= 0.5
    assert each.diagonal().min() > 30


@pytest.mark.parametrize("pairs", ["hessian", "whitening"])
def test_pairs_are_a_normal_vector_and_what_is_to_be_whitened(pairs: str) -> None:
    """One step from the first state is one from the identity, with the pair that the step's number gives."""
    params, options = start(), hyper("psgd_full", pairs=pairs, init_scale=2.0, damping=0.3)
    size = sum(param.numel() for param in params)
    vector, noise = draws.normal(torch.tensor(0), 2 * size).double().reshape(2, size, 1)
    batch = look(params, *examples(0))
    product = whole_hessian(params) @ vector if pairs == "hessian" else flat(batch.gradients()).unsqueeze(-1)
    begun = [2 * torch.eye(size, dtype=torch.float64)], [torch.zeros(1, dtype=torch.float64)]
    (wanted,), _ = fitted(*begun, vector, product + 0.3 * noise, options)
    rule = METHODS["psgd_full"]
    _, state = rule.step(batch.gradients(), rule.init(params), params, options, batch)
    assert (state.curvature[0] - wanted).abs().max() <= 1e-10


@pytest.mark.parametrize("name", METHODS)
def test_the_criterion_falls(name: str) -> None:
    rule, params, values = METHODS[name], start(), hyper(name, precond_lr=0.1, init_scale=1.0)
    state = rule.init(params)
    size = sum(param.numel() for param in params)
    hessian = whole_hessian(params)

    def on_average(state: Any) -> float:
        """Return E[h^T P h + v^T P^-1 v] = tr(H P H) + tr(P^-1) with P as one matrix."""
        p = whole(state, params)
        return float((hessian @ p @ hessian).trace() + torch.linalg.inv(p).trace())

    before = on_average(state)
    assert before == pytest.approx(float((hessian @ hessian).trace()) + size)
    for _ in range(100):
        batch = look(params, *examples(0))
        _, state = rule.step(batch.gradients(), state, params, values, batch)
    assert on_average(state) < 0.7 * before


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in tensors])


def whole_hessian(params: list[Tensor]) -> Tensor:
    batch, sizes = look(params, *examples(0)), [param.numel() for param in params]
    columns = []
    for unit in torch.eye(sum(sizes), dtype=torch.float64):
        parts = zip(torch.split(unit, sizes), params, strict=True)
        columns.append(flat(batch.product([part.reshape(param.shape) for part, param in parts])))
    return torch.stack(columns, dim=1)


def whole(state: Any, params: list[Tensor]) -> Tensor:
    """Return P as one matrix over all parameters."""
    factors = state.curvature[: len(state.inverse)]
    parts = [factor.T @ factor if factor.ndim > 1 else torch.diag(factor**2) for factor in factors]
    if len(parts) == 1:
        return parts[0]
    rest = iter(parts)
    blocks = [torch.kron(next(rest), next(rest)) if param.ndim > 1 else next(rest) for param in params]
    found: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return found


@pytest.mark.parametrize("name", METHODS)
def test_the_step_is_that_of_the_whole_matrix_and_the_state_moves(name: str) -> None:
    options = hyper(name, interval=1, kl_clip=0.0, lr=0.01)
    _, states = alone(METHODS[name], options, 5)
    batch = look(start(), *examples(9))
    grads = batch.gradients()
    found, after = METHODS[name].step(grads, states[-1], start(), options, batch)
    wanted = whole(after, grads) @ flat(grads)
    assert (flat(found) - wanted).abs().max() <= 1e-10
    assert (flat(found) / flat(grads)).std() > 1e-2
    for field in ("curvature", "inverse"):
        assert all(
            (new - old).abs().max() > 0
            for new, old in zip(getattr(after, field), getattr(states[-1], field), strict=True)
        )
    assert after.estimates == 6


@pytest.mark.parametrize("name", METHODS)
def test_it_is_fitted_at_its_interval_and_used_at_the_other(name: str) -> None:
    _, states = alone(METHODS[name], hyper(name, curvature_interval=2, interval=3), 7)
    for field, due in (("curvature", [0, 2, 4, 6]), ("inverse", [0, 3, 6])):
        moved = [not torch.equal(getattr(a, field)[0], getattr(b, field)[0]) for a, b in pairwise(states)]
        assert [step for step, each in enumerate(moved) if each] == due


@pytest.mark.parametrize("name", METHODS)
def test_members_take_the_steps_they_take_alone(name: str) -> None:
    options = [
        hyper(name, lr=0.05),
        hyper(name, lr=0.02, pairs="whitening", init_scale=0.5, damping=0.1),
        hyper(name, lr=0.05, interval=2, curvature_interval=3, precond_lr=0.01, kl_clip=0.0),
    ]
    params, state = together(METHODS[name], options, 8)
    for member, own in enumerate(options):
        wanted, states = alone(METHODS[name], own, 8, member)
        for one, all_ in zip([*wanted, *states[-1].curvature], [*params, *state.curvature], strict=True):
            assert torch.allclose(one, all_[member], rtol=0, atol=1e-10)


def test_a_state_says_all_there_is_to_go_on_from() -> None:
    rule, options = METHODS["psgd"], hyper("psgd")
    _, states = alone(rule, options, 4)
    batch = look(start(), *examples(3))
    once, again = (rule.step(batch.gradients(), states[2], start(), options, batch) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(once[0], again[0], strict=True))


def test_nonsense_is_counted_and_what_was_learned_stays() -> None:
    rule, options = METHODS["psgd"], hyper("psgd", interval=1)
    _, states = alone(rule, options, 2)
    inputs, targets = examples(0)
    batch = look(start(), inputs.fill_(torch.nan), targets)
    _, after = rule.step(batch.gradients(), states[-1], start(), options, batch)
    assert after.skipped == 1
    assert all(torch.equal(new, old) for new, old in zip(after.curvature, states[-1].curvature, strict=True))


def test_too_many_parameters_for_one_matrix_are_refused() -> None:
    with pytest.raises(ValueError, match=f"at most {LONGEST}, and there are {LONGEST + 1}: choose psgd"):
        METHODS["psgd_full"].init([torch.zeros(LONGEST), torch.zeros(1)])


def test_of_longer_sides_there_are_diagonals() -> None:
    state = METHODS["psgd"].init([torch.zeros(LONGEST + 1, 2), torch.zeros(5), torch.zeros(()), torch.zeros(3, 2, 2)])
    assert [tuple(factor.shape) for factor in state.inverse] == [(LONGEST + 1,), (2, 2), (5,), (1,), (3, 3), (4, 4)]
