"""Directions without matrices are what dense matrices give, for one network and for stacked ones."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optim.precondition.algorithms.matrix_free import DirectionState
from optim.precondition.interface import Preconditioner
from optim.precondition.methods import METHODS
from optim.precondition.operations.products import joined, split
from optim.transform import stack
from tests.optim.precondition import curved

NAMES = ("hessian_free", "neumann", "curveball")
EACH = pytest.mark.parametrize("name", NAMES)
CURVATURE = pytest.mark.parametrize("curvature", ["gauss_newton", "hessian"])
FREE: dict[str, Any] = {"damping": 0.5, "kl_clip": 0.0}
EXACTLY: dict[str, dict[str, Any]] = {
    "hessian_free": {"iterations": 200, "tolerance": 1e-12},
    "neumann": {"terms": 400, "scale": 2.0, "warm_start": 0.0},
}
# What members differ in.
SPREAD: dict[str, dict[str, Any]] = {
    "hessian_free": {"iterations": [2, 5, 9], "tolerance": [0.0, 0.1, 0.01], "warm_start": [0.0, 0.5, 0.9]},
    "neumann": {"terms": [1, 4, 7], "scale": [3.0, 5.0, 0.2], "warm_start": [0.0, 0.5, 0.9]},
    "curveball": {"coefficients": [0, 1, 1], "rho": [0.9, 0.8, 0.7], "beta": [0.1, 0.2, 0.3]},
}
BRUTE = {"gauss_newton": curved.gauss_newton, "hessian": curved.hessian}


def damped(own: Any, curvature: str, damping: float = 0.5) -> Tensor:
    matrix = BRUTE[curvature](*own)
    return matrix + damping * torch.eye(len(matrix), dtype=matrix.dtype)


@CURVATURE
@pytest.mark.parametrize("name", EXACTLY)
def test_with_patience_the_solution_is_exact(name: str, curvature: str) -> None:
    own = curved.member(0, *curved.network(1))
    batch, matrix, rule = curved.batch(*own), damped(own, curvature), METHODS[name].link(())
    assert float(torch.linalg.eigvalsh(matrix)[0]) > 0
    grads = batch.gradients()
    hyper = curved.hyper(name, **FREE, **EXACTLY[name], matrix=curvature)
    found, state = rule.update(grads, rule.init(own[0]), own[0], hyper, batch)
    wanted = torch.linalg.solve(matrix, joined(grads, 0))
    torch.testing.assert_close(joined(found, 0), wanted, rtol=0, atol=1e-8)
    assert all(torch.equal(x, y) for x, y in zip(state.direction, found, strict=True))
    assert (joined(found, 0) - joined(grads, 0)).abs().max() > 1e-2


@CURVATURE
def test_curveball_with_fixed_coefficients_is_its_recursion(curvature: str) -> None:
    own = curved.member(0, *curved.network(1))
    rule = METHODS["curveball"].link(())
    hyper = curved.hyper("curveball", **FREE, matrix=curvature, coefficients="fixed", rho=0.8, beta=0.3)
    state, z = rule.init(own[0]), torch.zeros(1).double()
    params = own[0]
    for _ in range(4):
        batch, matrix = curved.batch(params, *own[1:]), damped((params, *own[1:]), curvature)
        grads = batch.gradients()
        z = z.expand(len(matrix))
        z = 0.8 * z - 0.3 * (matrix @ z + joined(grads, 0))
        found, state = rule.update(grads, state, params, hyper, batch)
        torch.testing.assert_close(-joined(found, 0), z, rtol=0, atol=1e-8)
        params = split(joined(params, 0) + z, params, 0)


@CURVATURE
def test_curveball_in_closed_form_solves_the_papers_system(curvature: str) -> None:
    own = curved.member(0, *curved.network(1))
    rule, hyper = METHODS["curveball"].link(()), curved.hyper("curveball", **FREE, matrix=curvature)
    state, params = rule.init(own[0]), own[0]
    z = torch.zeros(1).double()
    for step in range(4):
        batch, matrix = curved.batch(params, *own[1:]), damped((params, *own[1:]), curvature)
        g = joined(batch.gradients(), 0)
        found, state = rule.update(batch.gradients(), state, params, hyper, batch)
        if step == 0:
            z = -g * g.dot(g) / g.dot(matrix @ g)
        else:
            delta = matrix @ z + g
            left = torch.stack([torch.stack([delta @ matrix @ delta, z @ matrix @ delta]),
                                torch.stack([z @ matrix @ delta, z @ matrix @ z])])  # fmt: skip
            beta, less_rho = torch.linalg.solve(left, torch.stack([g.dot(delta), g.dot(z)]))
            z = -less_rho * z - beta * delta
        torch.testing.assert_close(-joined(found, 0), z, rtol=0, atol=1e-8)
        params = split(joined(params, 0) + z, params, 0)


@EACH
@pytest.mark.parametrize("one_by_one", [False, True])
def test_members_get_what_they_get_alone(name: str, *, one_by_one: bool) -> None:
    options = {"damping": [0.1, 0.5, 2.0], "kl_clip": [0.0, 1e-2, 1e-3], "matrix": [0, 1, 0], **SPREAD[name]}
    together = curved.hyper(name, 3, **{key: torch.tensor(value) for key, value in options.items()})
    curved.check_members(METHODS[name].link(()), together, steps=3, one_by_one=one_by_one)


@EACH
def test_a_product_that_is_not_finite_leaves_the_gradient_and_is_counted(name: str) -> None:
    whole, rule = curved.network(3), METHODS[name].link(())
    hyper, batch = curved.hyper(name, 3, **FREE), curved.batch(*whole)
    before = stack([rule.init(curved.member(place, *whole)[0]) for place in range(3)])
    grads = batch.gradients()
    sound, good = rule.update(grads, before, whole[0], hyper, batch)
    found, state = rule.update(grads, good, whole[0], hyper, curved.Spoiled(batch, 1))
    assert state.skipped.tolist() == [0, 1, 0]
    for new, grad, direction, kept in zip(found, grads, state.direction, good.direction, strict=True):
        assert torch.equal(new[1], grad[1])
        assert torch.equal(direction[1], kept[1])
        assert not torch.equal(new[0], grad[0])
    assert all(bool(each.isfinite().all()) for each in (*sound, *found))


@EACH
@CURVATURE
def test_directions_lead_up_the_gradient(name: str, curvature: str) -> None:
    rule, hyper = METHODS[name].link(()), curved.hyper(name, 5, **FREE | {"damping": 1e-3}, matrix=curvature)
    whole = curved.network(5, 7)
    batch = curved.batch(*whole)
    state: DirectionState = stack([rule.init(curved.member(place, *whole)[0]) for place in range(5)])
    found, _ = rule.update(batch.gradients(), state, whole[0], hyper, batch)
    assert bool(((joined(found, 1) * joined(batch.gradients(), 1)).sum(dim=-1) > 0).all())


@EACH
def test_what_a_step_may_change_of_predictions_is_bounded(name: str) -> None:
    own = curved.member(0, *curved.network(1))
    batch, rule = curved.batch(*own), METHODS[name].link(())
    hyper = curved.hyper(name, kl_clip=1e-4, lr=0.5)
    found, _ = rule.update(batch.gradients(), rule.init(own[0]), own[0], hyper, batch)
    grads, unclipped = joined(batch.gradients(), 0), curved.hyper(name, kl_clip=0.0, lr=0.5)
    free, _ = rule.update(batch.gradients(), rule.init(own[0]), own[0], unclipped, batch)
    ratio = joined(found, 0).norm() / joined(free, 0).norm()
    limit = 0.25 * grads.dot(joined(free, 0)) / 1e-4
    torch.testing.assert_close(ratio, limit**-0.5, rtol=1e-10, atol=0)


@EACH
def test_users_networks_of_any_kind_learn(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.GELU(), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 3)).double()
    inputs, targets = torch.randn(32, 2, 6).double(), torch.randint(3, (32,))
    precondition = Preconditioner(net, name, damping=0.1)
    step = torch.optim.SGD(net.parameters(), lr=0.5)

    def closure() -> tuple[Tensor, Tensor]:
        outputs = net(inputs)
        return nn.functional.cross_entropy(outputs, targets), outputs

    losses = []
    for _ in range(10):
        losses.append(float(precondition.backward(closure, lr=0.5)))
        step.step()
    assert losses[-1] < 0.8 * losses[0]
    assert (precondition.plain, precondition.skipped) == ([], 0)


def test_without_outputs_the_hessian_is_left() -> None:
    net, inputs = nn.Linear(3, 1).double(), torch.randn(4, 3).double()
    with pytest.raises(ValueError, match='matrix="hessian"'):
        Preconditioner(net, "hessian_free").backward(lambda: net(inputs).square().mean())
    Preconditioner(net, "hessian_free", matrix="hessian").backward(lambda: net(inputs).square().mean())
    assert net.weight.grad is not None
