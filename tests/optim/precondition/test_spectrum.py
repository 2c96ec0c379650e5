"""Spectra by products equal those of dense matrices; random estimates are exact where all random vectors are tried."""

import math
from itertools import product as every
from typing import Any

import curvlinops
import pytest
import torch
from torch import Tensor, nn

from optim.precondition import spectrum
from optim.precondition.batch import Batch, Pass
from optim.precondition.criteria import criterion
from optim.precondition.operations.products import CURVATURES, GAUSS_NEWTON, HESSIAN, Product, joined, product_of
from tests.optim.precondition import curved

SIZE = 4


def by(matrix: Tensor) -> Product:
    return lambda rows: (matrix @ rows.unsqueeze(-1)).squeeze(-1)


def symmetric(*shape: int) -> Tensor:
    root = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return root + root.mT


def all_signs(size: int) -> Tensor:
    return torch.tensor(list(every((-1.0, 1.0), repeat=size)), dtype=torch.float64)


def start(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", CURVATURES)
def test_the_largest_eigenvalues_of_stacked_networks(name: str) -> None:
    whole = curved.network(3)
    batch = curved.batch(*whole)
    brute = {HESSIAN: curved.hessian, GAUSS_NEWTON: curved.gauss_newton}[name]
    dense = torch.stack([brute(*curved.member(place, *whole)) for place in range(3)])
    product, size = product_of(batch, name), dense.shape[-1]
    values, vectors = spectrum.largest(product, start(3, size), 3, iterations=size)
    torch.testing.assert_close(values, torch.linalg.eigvalsh(dense).flip(-1)[:, :3], rtol=0, atol=1e-8)
    torch.testing.assert_close((dense @ vectors.mT).mT, values.unsqueeze(-1) * vectors, rtol=0, atol=1e-8)
    few, _ = spectrum.largest(product, start(3, size), 1, iterations=12)
    torch.testing.assert_close(few, values[:, :1], rtol=1e-4, atol=0)
    if name == GAUSS_NEWTON:  # else the largest in size may be a negative one
        torch.testing.assert_close(spectrum.power(product, start(3, size), 400), values[:, 0], rtol=0, atol=1e-8)
    alone, _ = spectrum.largest(by(dense[1]), start(3, size)[1], 3, iterations=12)
    stacked, _ = spectrum.largest(product, start(3, size), 3, iterations=12)
    torch.testing.assert_close(stacked[1], alone, rtol=0, atol=1e-10)


def test_power_finds_what_is_largest_in_size() -> None:
    matrix = torch.diag(torch.tensor([1.0, -5.0, 3.0])).double()
    assert float(spectrum.power(by(matrix), torch.ones(3).double(), 200)) == pytest.approx(-5.0)


@pytest.mark.parametrize(
    "matrix",
    [
        torch.diag(torch.tensor([2.0, 2.0, 2.0, -1.0, -1.0, 0.0])).double(),
        torch.zeros(6, 6, dtype=torch.float64),
        torch.eye(6, dtype=torch.float64),
        torch.diag(torch.tensor([1e8, 1.0, 1.0, 1e-3, 0.0, -4.0])).double(),
    ],
    ids=["repeated", "zero", "one", "far-apart"],
)
def test_where_the_space_is_spent_another_direction_goes_on(matrix: Tensor) -> None:
    found = spectrum.lanczos(by(matrix), torch.ones(6).double(), 9)
    values, _ = spectrum.ritz(found)
    torch.testing.assert_close(values, matrix.diagonal().sort().values, rtol=1e-12, atol=1e-7)
    torch.testing.assert_close(found.basis @ found.basis.mT, torch.eye(6).double(), rtol=0, atol=1e-12)


def test_the_basis_makes_the_matrix_tridiagonal() -> None:
    matrix = symmetric(2, 7, 7)
    found = spectrum.lanczos(by(matrix), start(2, 7), 5)
    seen = found.basis @ matrix @ found.basis.mT
    upper = torch.diag_embed(found.beside, offset=1)
    torch.testing.assert_close(seen, torch.diag_embed(found.diagonal) + upper + upper.mT, rtol=0, atol=1e-12)
    assert found.basis.shape == (2, 5, 7)


def test_over_all_signs_trace_and_diagonal_are_exact() -> None:
    matrix = symmetric(SIZE, SIZE)
    probes = all_signs(SIZE)
    found = spectrum.trace(by(matrix), probes)
    torch.testing.assert_close(found.value, matrix.trace(), rtol=0, atol=1e-12)
    off = matrix - torch.diag(matrix.diagonal())
    deviation = (2 * off.square().sum() * 16 / 15).sqrt()  # of v^T A v over all 16 sign vectors
    torch.testing.assert_close(found.error, deviation / 4, rtol=0, atol=1e-12)
    torch.testing.assert_close(spectrum.diagonal(by(matrix), probes), matrix.diagonal(), rtol=0, atol=1e-12)
    sketched = spectrum.trace_by_sketch(by(matrix), start(2, SIZE), probes)
    torch.testing.assert_close(sketched.value, matrix.trace(), rtol=0, atol=1e-12)


def test_a_sketch_leaves_nothing_to_chance_where_the_rank_is_low() -> None:
    low = start(3, 9, 2)
    matrix = low @ low.mT
    key = torch.arange(3)
    probes, sketch = (spectrum.signs(key + salt, 4, start(3, 9)) for salt in (0, 10))
    found = spectrum.trace_by_sketch(by(matrix), sketch, probes)
    torch.testing.assert_close(found.value, matrix.diagonal(dim1=-2, dim2=-1).sum(-1), rtol=0, atol=1e-10)
    assert float(found.error.max()) < 1e-10
    assert float(spectrum.trace(by(matrix), probes).error.min()) > 0.1


@pytest.mark.parametrize("name", CURVATURES)
def test_traces_and_diagonals_of_networks_are_within_their_errors(name: str) -> None:
    whole = curved.network(2)
    brute = {HESSIAN: curved.hessian, GAUSS_NEWTON: curved.gauss_newton}[name]
    dense = torch.stack([brute(*curved.member(place, *whole)) for place in range(2)])
    product = product_of(curved.batch(*whole), name)
    probes = spectrum.signs(torch.tensor([1, 2]), 400, joined(whole[0], 1))
    assert probes.shape == (400, 2, dense.shape[-1])
    found = spectrum.trace(product, probes)
    own = dense.diagonal(dim1=-2, dim2=-1)
    assert bool(((found.value - own.sum(-1)).abs() < 4 * found.error).all())
    assert bool((found.error < 0.2 * own.sum(-1).abs()).all())
    assert float((spectrum.diagonal(product, probes) - own).norm() / own.norm()) < 0.2


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_over_all_signs_quadrature_has_the_moments_of_the_spectrum(iterations: int) -> None:
    matrix = symmetric(SIZE, SIZE)
    nodes, weights = spectrum.quadrature(by(matrix), all_signs(SIZE), iterations)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(16).double())
    for moment in range(2 * iterations):
        wanted = torch.linalg.matrix_power(matrix, moment).trace() / SIZE
        torch.testing.assert_close((weights * nodes**moment).sum(-1).mean(), wanted, rtol=1e-10, atol=1e-10)


def test_over_all_signs_the_density_is_exact() -> None:
    matrix, width = symmetric(SIZE, SIZE), torch.tensor(0.3).double()
    at = torch.linspace(-12, 12, 400, dtype=torch.float64)
    found = spectrum.density(spectrum.quadrature(by(matrix), all_signs(SIZE), SIZE), at, width)
    apart = (at.unsqueeze(-1) - torch.linalg.eigvalsh(matrix)) / width
    wanted = (torch.exp(-(apart**2) / 2) / (width * math.sqrt(2 * math.pi))).mean(dim=-1)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    assert float(torch.trapezoid(found, at)) == pytest.approx(1.0)


def test_densities_of_stacked_networks_are_each_ones_own() -> None:
    whole = curved.network(2)
    at, width = torch.linspace(-1, 3, 50, dtype=torch.float64), torch.tensor(0.1).double()
    keys = torch.tensor([3, 4])
    probes = spectrum.signs(keys, 5, joined(whole[0], 1))
    stacked = spectrum.density(spectrum.quadrature(product_of(curved.batch(*whole), HESSIAN), probes, 8), at, width)
    assert stacked.shape == (2, 50)
    for place in range(2):
        own = curved.member(place, *whole)
        alone = spectrum.signs(keys[place], 5, joined(own[0], 0))
        found = spectrum.quadrature(product_of(curved.batch(*own), HESSIAN), alone, 8)
        torch.testing.assert_close(stacked[place], spectrum.density(found, at, width), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "operator"), [(HESSIAN, curvlinops.HessianLinearOperator), (GAUSS_NEWTON, curvlinops.GGNLinearOperator)]
)
def test_another_librarys_operators_have_this_spectrum(name: str, operator: Any) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    inputs, targets = torch.randn(20, 4, dtype=torch.float64), torch.randn(20, 3, dtype=torch.float64)
    params = dict(net.named_parameters())

    def run(moved: Any) -> Pass:
        outputs = torch.func.functional_call(net, dict(zip(params, moved, strict=True)), (inputs,))
        return Pass(nn.functional.mse_loss(outputs, targets), outputs, ())

    batch = Batch(run, list(params.values()), (), criterion("squared_error"), torch.full((20,), 1 / 20))
    theirs = operator(net, nn.MSELoss(), list(params.values()), [(inputs, targets)])
    like = joined([param.detach() for param in params.values()], 0)
    dense = (theirs @ torch.eye(len(like), dtype=like.dtype)).detach()
    values, _ = spectrum.largest(product_of(batch, name), start(len(like)), 5, iterations=len(like))
    torch.testing.assert_close(values, torch.linalg.eigvalsh(dense).flip(-1)[:5], rtol=0, atol=1e-8)
    ours = spectrum.lanczos(product_of(batch, name), start(len(like)), 9)
    other = spectrum.lanczos(lambda row: theirs @ row, start(len(like)), 9)
    torch.testing.assert_close(ours.diagonal, other.diagonal, rtol=0, atol=1e-8)
    torch.testing.assert_close(ours.beside, other.beside, rtol=0, atol=1e-8)
