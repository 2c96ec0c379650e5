"""Newton's directions are those of the brute-force Hessian, for one network and for stacked ones."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optim.build import build
from optim.precondition.algorithms.newton import LARGEST
from optim.precondition.batch import Batch, Pass
from optim.precondition.criteria import criterion
from optim.precondition.interface import Preconditioner
from optim.precondition.methods import METHODS
from optim.precondition.operations.products import joined, split
from optim.transform import stack
from tests.optim.precondition import curved

NAMES = ("newton", "absolute_newton")
EACH = pytest.mark.parametrize("name", NAMES)
# Every step its own Hessian, and no region around it.
PLAIN: dict[str, Any] = {"damping": 0.3, "interval": 1, "curvature_interval": 1, "curvature_beta": 0.0, "kl_clip": 0.0}


def wanted(name: str, matrix: Tensor, row: Tensor, damping: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    values = values.abs() if name == "absolute_newton" else values
    found: Tensor = vectors @ ((vectors.mT @ row) / (values + damping))
    return found


@EACH
def test_the_direction_of_one_network(name: str) -> None:
    own = curved.member(0, *curved.network(1))
    batch, matrix = curved.batch(*own), curved.hessian(*own)
    grads = batch.gradients()
    rule = METHODS[name].link(())
    found, state = rule.update(grads, rule.init(own[0]), own[0], curved.hyper(name, **PLAIN), batch)
    torch.testing.assert_close(joined(found, 0), wanted(name, matrix, joined(grads, 0), 0.3), rtol=0, atol=1e-8)
    torch.testing.assert_close(state.curvature[0], matrix, rtol=0, atol=1e-8)
    assert (joined(found, 0) - joined(grads, 0)).abs().max() > 1e-2
    assert (float(state.estimates), float(state.skipped)) == (1, 0)
    if name == "newton":
        direct = torch.linalg.solve(matrix + 0.3 * torch.eye(len(matrix)).double(), joined(grads, 0))
        torch.testing.assert_close(joined(found, 0), direct, rtol=0, atol=1e-8)


@EACH
@pytest.mark.parametrize("one_by_one", [False, True])
def test_members_get_what_they_get_alone(name: str, *, one_by_one: bool) -> None:
    options = {**PLAIN, "damping": torch.tensor([0.1, 0.3, 2.0]), "curvature_beta": 0.5}
    curved.check_members(METHODS[name].link(()), curved.hyper(name, 3, **options), steps=2, one_by_one=one_by_one)


@EACH
def test_between_intervals_the_inverse_stays(name: str) -> None:
    own = curved.member(0, *curved.network(1))
    batch, rule = curved.batch(*own), METHODS[name].link(())
    hyper, state = curved.hyper(name, **PLAIN | {"interval": 3, "curvature_interval": 3}), rule.init(own[0])
    estimates = []
    for _ in range(7):
        _, state = rule.update(batch.gradients(), state, own[0], hyper, batch)
        estimates.append(int(state.estimates))
    assert estimates == [1, 1, 1, 2, 2, 2, 3]


def saddle() -> Batch:
    """Return the loss x^2 - y^2 near its saddle, at (0.1, 0.3)."""

    def run(moved: Any) -> Pass:
        (point,) = moved
        outputs = point.unsqueeze(0)
        return Pass((outputs[..., 0] ** 2 - outputs[..., 1] ** 2).sum(), outputs, ())

    point = torch.tensor([0.1, 0.3], dtype=torch.float64, requires_grad=True)
    return Batch(run, [point], (), criterion("squared_error"), torch.ones(1))


def from_saddle(name: str, **options: Any) -> Tensor:
    batch, rule = saddle(), METHODS[name].link(())
    hyper = curved.hyper(name, **PLAIN | {"damping": 1e-9} | options)
    state = rule.init([torch.zeros(2, dtype=torch.float64)])
    (way,), _ = rule.update(batch.gradients(), state, batch.params, hyper, batch)
    return way


def test_the_absolute_hessian_leads_down_where_the_hessian_leads_up() -> None:
    torch.testing.assert_close(from_saddle("newton"), torch.tensor([0.1, 0.3]).double())
    torch.testing.assert_close(from_saddle("absolute_newton"), torch.tensor([0.1, -0.3]).double())


def test_a_way_up_is_held_back_as_a_way_down_is() -> None:
    """The slope is (0.2, -0.6), so its product with Newton's direction is -0.16, and with the other 0.2."""
    for name, product in (("newton", 0.16), ("absolute_newton", 0.2)):
        held = from_saddle(name, lr=1.0, kl_clip=0.01)
        torch.testing.assert_close(held, from_saddle(name) * (0.01 / product) ** 0.5)


@EACH
def test_a_hessian_that_is_not_finite_is_not_taken(name: str) -> None:
    whole = curved.network(3)
    rule, hyper = METHODS[name].link(()), curved.hyper(name, 3, **PLAIN)
    state = stack([rule.init(curved.member(place, *whole)[0]) for place in range(3)])
    batch = curved.batch(*whole)
    found, state = rule.update(batch.gradients(), state, whole[0], hyper, batch)
    broken = curved.Spoiled(batch, 1)
    again, after = rule.update(batch.gradients(), state, whole[0], hyper, broken)
    assert after.skipped.tolist() == [0, 1, 0]
    assert after.estimates.tolist() == [2, 1, 2]
    for first, second in zip(found, again, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


@EACH
def test_too_many_parameters_are_refused(name: str) -> None:
    fits, too_many = nn.Linear(LARGEST - 1, 1), nn.Linear(LARGEST, 1)
    METHODS[name].link(()).init([param.detach() for param in fits.parameters()])
    inputs = torch.randn(2, LARGEST)
    precondition = Preconditioner(too_many, name, loss="squared_error")
    with pytest.raises(ValueError, match="at most 4096 parameters, and there are 4097"):
        precondition.backward(lambda: (too_many(inputs).square().mean(), too_many(inputs)))


def test_a_convex_loss_is_minimal_after_few_steps_of_newton() -> None:
    torch.manual_seed(0)
    net, inputs, targets = nn.Linear(5, 3).double(), torch.randn(40, 5).double(), torch.randint(3, (40,))
    optimizer = build("newton", net, lr=1.0, damping=1e-9, curvature_beta=0.0, kl_clip=0.0, interval=1, curvature_interval=1)  # fmt: skip

    def closure() -> Any:
        outputs = net(inputs)
        return nn.functional.cross_entropy(outputs, targets), outputs

    for _ in range(8):
        optimizer.step(closure)
    loss, _ = closure()
    slopes = torch.autograd.grad(loss, list(net.parameters()))
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-8
    assert float(loss.detach()) > 0.1


def test_rows_go_back_where_they_came_from() -> None:
    params, _, _ = curved.member(0, *curved.network(1))
    assert all(torch.equal(x, y) for x, y in zip(split(joined(params, 0), params, 0), params, strict=True))
