"""EKFAC: the diagonal in the Kronecker eigenbasis is that of examples' gradients, and the step divides by it."""

from collections.abc import Callable, Sequence

import pytest
import torch
from curvlinops import EKFACLinearOperator
from torch import Tensor, nn

from optim.precondition.algorithms.ekfac import EkfacState, ekfac
from optim.precondition.layers import Layer
from optim.precondition.matrices import eigenbasis, kronecker
from optim.precondition.matrices.eigenbasis import Basis
from optim.precondition.modules.kinds import MATRIX
from tests.optim.precondition.cases import Case, grouped, mlp, normalised, options, positions, step, wide

_FORMS = dict.fromkeys(MATRIX, kronecker.KRONECKER)
CASES = [mlp, wide, positions, grouped]
by_case = pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)


def _taken(case: Case, steps: int = 1, **values: object) -> tuple[list[Tensor], EkfacState]:
    link = ekfac(case.batch().layers, _FORMS)
    state = link.init(case.params)
    for _ in range(steps):
        batch = case.batch()
        found, state = link.step(
            batch.gradients(), state, case.params, options("ekfac", fisher="empirical", **values), batch
        )
    return found, state


def _bases(state: EkfacState) -> list[Basis]:
    return [Basis(*pair) for pair in zip(state.basis[::2], state.basis[1::2], strict=True)]


def _matrices(case: Case, layer: Layer) -> Tensor:
    """Return the gradients (n, G, o, d) of each example as the layer's matrix."""
    slopes = case.slopes()
    own = [slopes[place] for place in layer.places]
    return MATRIX[layer.kind].join(layer, own, 1)


def _axes(basis: Basis) -> Tensor:
    """Return U_B (x) U_A (G, o d, o d)."""
    return kronecker.dense(basis)


@by_case
def test_moments_and_steps_equal_those_of_formed_matrices(make: Callable[[], Case]) -> None:
    case, damping = make(), 1e-2
    found, state = _taken(case, damping=damping)
    grads = case.batch().gradients()
    bases = _bases(state)
    for layer, basis, moments in zip(case.batch().layers, bases, state.moments, strict=True):
        axes, gradients = _axes(basis), _matrices(case, layer).flatten(-2)
        fisher = torch.einsum("ngi,ngj,n->gij", gradients, gradients, case.weights)
        diagonal = (axes.mT @ fisher @ axes).diagonal(dim1=-2, dim2=-1)
        torch.testing.assert_close(moments.flatten(-2), diagonal, rtol=0, atol=1e-10)
        whole = axes @ torch.diag_embed(diagonal) @ axes.mT + damping * torch.eye(axes.shape[-1], dtype=axes.dtype)
        joined = MATRIX[layer.kind].join(layer, [grads[place] for place in layer.places], 0)
        wanted = torch.linalg.solve(whole, joined.flatten(-2)).reshape(joined.shape)
        mine = MATRIX[layer.kind].join(layer, [found[place] for place in layer.places], 0)
        torch.testing.assert_close(mine, wanted, rtol=1e-8, atol=1e-8)


@by_case
def test_the_basis_is_of_eigenvectors_of_the_factors(make: Callable[[], Case]) -> None:
    _, state = _taken(make())
    for factor, basis in zip(state.factors, state.basis, strict=True):
        torch.testing.assert_close(
            basis.mT @ basis, torch.eye(len(basis[0]), dtype=basis.dtype).expand_as(basis), rtol=0, atol=1e-12
        )
        turned = basis.mT @ factor @ basis
        beside = turned - torch.diag_embed(turned.diagonal(dim1=-2, dim2=-1))
        assert beside.abs().max() < 1e-6 * factor.diagonal(dim1=-2, dim2=-1).mean()


@by_case
def test_it_is_nearer_to_the_curvature_than_kfac(make: Callable[[], Case]) -> None:
    case = make()
    _, state = _taken(case)
    seen = case.batch().seen("empirical", key=torch.tensor(0.0))
    for own, basis, moments in zip(seen, _bases(state), state.moments, strict=True):
        axes, gradients = _axes(basis), _matrices(case, own.layer).flatten(-2)
        fisher = torch.einsum("ngi,ngj,n->gij", gradients, gradients, case.weights)
        mine = axes @ torch.diag_embed(moments.flatten(-2)) @ axes.mT
        assert torch.dist(mine, fisher) < torch.dist(kronecker.dense(kronecker.estimate(own)), fisher)


@pytest.mark.parametrize("source", ["empirical", "exact"])
def test_it_is_that_of_curvlinops(source: str) -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    case = Case(module, 4)
    operator = EKFACLinearOperator(
        module,
        nn.CrossEntropyLoss(),
        [param for param in module.parameters() if isinstance(param, nn.Parameter)],
        [(case.inputs, case.targets)],
        fisher_type={"empirical": "empirical", "exact": "type-2"}[source],
        separate_weight_and_bias=False,
    )
    whole = operator @ torch.eye(sum(param.numel() for param in case.params), dtype=torch.float64)
    link = ekfac(case.batch().layers, _FORMS)
    batch = case.batch()
    _, state = link.step(batch.gradients(), link.init(case.params), case.params, options("ekfac", fisher=source), batch)
    start = 0
    for layer, basis, moments in zip(batch.layers, _bases(state), state.moments, strict=True):
        axes = _axes(basis)[0]
        mine = axes @ torch.diag(moments.flatten()) @ axes.mT
        size = len(mine)
        wanted = whole[start : start + size, start : start + size]
        # There the weight's parameters come before the bias's, here a row's bias stands behind it.
        outputs, inputs = moments.shape[-2], moments.shape[-1] - 1
        weight = torch.arange(outputs * inputs).reshape(outputs, inputs)
        bias = outputs * inputs + torch.arange(outputs).unsqueeze(1)
        order = torch.cat([weight, bias], dim=1).flatten()
        torch.testing.assert_close(mine, wanted[order][:, order], rtol=0, atol=1e-6 * float(mine.abs().max()))
        start += size
        assert layer.bias is not None


def test_moments_carried_over_are_the_diagonal_in_the_new_basis() -> None:
    random = torch.Generator().manual_seed(0)
    old, new = (
        Basis(
            *(torch.linalg.qr(torch.randn(2, size, size, generator=random, dtype=torch.float64)).Q for size in (4, 3))
        )
        for _ in range(2)
    )
    moments = torch.rand(2, 3, 4, generator=random, dtype=torch.float64)
    whole = _axes(old) @ torch.diag_embed(moments.flatten(-2)) @ _axes(old).mT
    wanted = (_axes(new).mT @ whole @ _axes(new)).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(eigenbasis.carried(moments, old, new).flatten(-2), wanted)
    torch.testing.assert_close(eigenbasis.carried(moments, old, old), moments)


def test_bases_and_moments_are_renewed_at_their_own_intervals() -> None:
    case = mlp()
    link, hyper = ekfac(case.batch().layers, _FORMS), options("ekfac", interval=4, curvature_interval=2)
    state, renewed = link.init(case.params), []
    for number in range(9):
        case.inputs = torch.randn(case.inputs.shape, generator=torch.Generator().manual_seed(number)).double()
        batch = case.batch()
        _, new = link.step(batch.gradients(), state, case.params, hyper, batch)
        renewed.append((_differ(state.basis, new.basis), _differ(state.moments, new.moments)))
        state = new
    assert [number for number, (basis, _) in enumerate(renewed) if basis] == [0, 4, 8]
    assert [number for number, (_, moments) in enumerate(renewed) if moments] == [0, 2, 4, 6, 8]
    assert int(state.estimates) == int(state.measured) == 5


def _differ(old: Sequence[Tensor], new: Sequence[Tensor]) -> bool:
    return any(not torch.equal(before, after) for before, after in zip(old, new, strict=True))


def test_squares_are_summed_in_parts_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    case = grouped()
    seen = case.batch().seen("empirical", key=torch.tensor(0.0))
    _, state = _taken(case)
    for own, basis in zip(seen, _bases(state), strict=True):
        whole = eigenbasis.moments(own, basis)
        monkeypatch.setattr(eigenbasis, "_ROOM", 1)
        torch.testing.assert_close(eigenbasis.moments(own, basis), whole, rtol=1e-12, atol=0)
        monkeypatch.undo()


def test_layers_that_are_no_matrices_go_as_with_kfac() -> None:
    case = normalised()
    found, wanted = (step(name, case, damping=0.1, fisher="empirical") for name in ("ekfac", "kfac"))
    for name, new, own, grad in zip(case.names, found, wanted, case.batch().gradients(), strict=True):
        assert torch.equal(new, own) == name.startswith("1."), name
        assert not torch.equal(new, grad)
