"""Iterative solvers against direct ones; each member stops by itself."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from optim.precondition.matrices.spectral import spectral
from optim.precondition.operations.products import Product
from optim.precondition.solvers import conjugate_gradients, in_plane, neumann

MEMBERS, SIZE = 4, 6
MANY = torch.full((MEMBERS,), 50.0)
EXACT = torch.zeros(MEMBERS, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def definite(shift: float = 1.0) -> Tensor:
    root = normal(MEMBERS, SIZE, SIZE)
    return root @ root.mT / SIZE + shift * torch.eye(SIZE)


def by(matrix: Tensor) -> Product:
    return lambda rows: (matrix @ rows.unsqueeze(-1)).squeeze(-1)


def solved(matrix: Tensor, right: Tensor) -> Tensor:
    found: Tensor = torch.linalg.solve(matrix, right)
    return found


@pytest.mark.parametrize("start", [torch.zeros(MEMBERS, SIZE, dtype=torch.float64), normal(MEMBERS, SIZE, seed=3)])
def test_conjugate_gradients_solve(start: Tensor) -> None:
    matrix, right = definite(), normal(MEMBERS, SIZE, seed=1)
    found = conjugate_gradients(by(matrix), right, start, iterations=MANY, tolerance=EXACT + 1e-13)
    torch.testing.assert_close(found, solved(matrix, right), rtol=0, atol=1e-10)


def _plainly(matrix: Tensor, right: Tensor, iterations: int, tolerance: float) -> Tensor:
    """Solve for one member as textbooks have it."""
    found, residual = torch.zeros_like(right), right
    along = residual
    for _ in range(iterations):
        if residual.norm() <= tolerance * right.norm():
            break
        length = residual.dot(residual) / along.dot(matrix @ along)
        found, new = found + length * along, residual - length * (matrix @ along)
        along, residual = new + new.dot(new) / residual.dot(residual) * along, new
    return found


def test_each_member_stops_by_itself() -> None:
    matrix, right = definite(0.1), normal(MEMBERS, SIZE, seed=1)
    iterations, tolerance = torch.tensor([1.0, 3.0, 50.0, 50.0]), torch.tensor([0.0, 0.0, 0.3, 0.03]).double()
    found = conjugate_gradients(by(matrix), right, torch.zeros_like(right), iterations=iterations, tolerance=tolerance)
    for place, own in enumerate(found):
        wanted = _plainly(matrix[place], right[place], int(iterations[place]), float(tolerance[place]))
        torch.testing.assert_close(own, wanted, rtol=0, atol=1e-12)
    exact = solved(matrix, right)
    assert [(own - best).norm() > 1e-6 for own, best in zip(found, exact, strict=True)] == [True] * MEMBERS


def test_a_direction_of_negative_curvature_is_the_last() -> None:
    matrix = torch.diag(torch.tensor([4.0, -2.0])).double()
    right = torch.tensor([0.0, 1.0]).double()
    found = conjugate_gradients(
        by(matrix), right, torch.zeros_like(right), iterations=torch.tensor(9.0), tolerance=torch.tensor(0.0)
    )
    assert found.tolist() == [0.0, 0.5]
    bent = definite(-0.5)
    right = normal(MEMBERS, SIZE, seed=1)
    found = conjugate_gradients(by(bent), right, torch.zeros_like(right), iterations=MANY, tolerance=EXACT)
    assert bool((torch.linalg.eigvalsh(bent)[:, 0] < 0).all())
    assert bool(((found * right).sum(dim=-1) > 0).all())


def test_the_series_is_the_sum_of_its_terms() -> None:
    matrix, right = definite(), normal(MEMBERS, SIZE, seed=1)
    terms, scale = torch.tensor([1.0, 2.0, 5.0, 9.0]), torch.tensor([4.0, 5.0, 6.0, 7.0]).double()
    found = neumann(by(matrix), right, torch.zeros_like(right), terms=terms, scale=scale)
    for place, own in enumerate(found):
        left = torch.eye(SIZE).double() - matrix[place] / scale[place]
        wanted = sum(torch.matrix_power(left, power) @ right[place] for power in range(int(terms[place])))
        torch.testing.assert_close(own, wanted / scale[place], rtol=0, atol=1e-12)
    found = neumann(by(matrix), right, right, terms=MANY + 2000, scale=scale)
    torch.testing.assert_close(found, solved(matrix, right), rtol=0, atol=1e-10)


def test_a_scale_that_is_too_small_is_raised() -> None:
    matrix, right = definite(), normal(MEMBERS, SIZE, seed=1)
    scale = torch.full((MEMBERS,), 1e-3, dtype=torch.float64)
    lengths = []
    for terms in range(1, 40):
        counts = torch.full((MEMBERS,), float(terms))
        found = neumann(by(matrix), right, torch.zeros_like(right), terms=counts, scale=scale)
        lengths.append((right - by(matrix)(found)).norm(dim=-1))
    falls = torch.stack(lengths).diff(dim=0)
    assert bool((falls <= 1e-12).all())
    assert bool((lengths[-1] < 0.1 * right.norm(dim=-1)).all())


def test_a_series_ends_where_curvature_is_negative() -> None:
    matrix, right = torch.diag(torch.tensor([1.0, -1.0])).double(), torch.tensor([0.1, 1.0]).double()
    found = neumann(by(matrix), right, torch.zeros(2).double(), terms=torch.tensor(99.0), scale=torch.tensor(2.0))
    torch.testing.assert_close(found, right / 2)


def test_the_best_of_a_plane_leaves_nothing_to_gain_in_it() -> None:
    matrix, right, past = definite(), normal(MEMBERS, SIZE, seed=1), normal(MEMBERS, SIZE, seed=2)
    residual = right - by(matrix)(past)
    found = in_plane(by(matrix), right, past, residual)
    left = right - by(matrix)(found)
    for direction in (past, residual):
        torch.testing.assert_close((left * direction).sum(dim=-1), torch.zeros(MEMBERS).double(), rtol=0, atol=1e-10)
    plane = torch.stack([past, residual, found], dim=-2)
    assert torch.linalg.matrix_rank(plane, rtol=1e-9).tolist() == [2] * MEMBERS


def test_a_plane_of_one_direction_is_a_line() -> None:
    matrix, right = definite(), normal(MEMBERS, SIZE, seed=1)
    squares = (right * right).sum(dim=-1, keepdim=True)
    wanted = right * squares / (right * by(matrix)(right)).sum(dim=-1, keepdim=True)
    found = in_plane(by(matrix), right, torch.zeros_like(right), right)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    same = 0.5 * right
    scaled = torch.eye(SIZE).double().expand(MEMBERS, -1, -1)
    torch.testing.assert_close(in_plane(by(scaled), right, same, right - same), right, rtol=0, atol=1e-10)


def _conjugate(product: Product, right: Tensor) -> Tensor:
    return conjugate_gradients(product, right, torch.zeros_like(right), iterations=MANY, tolerance=EXACT + 1e-12)


def _series(product: Product, right: Tensor) -> Tensor:
    return neumann(product, right, torch.zeros_like(right), terms=MANY, scale=EXACT + 9)


def _plane(product: Product, right: Tensor) -> Tensor:
    return in_plane(product, right, torch.ones_like(right), right - product(torch.ones_like(right)))


@pytest.mark.parametrize("solve", [_conjugate, _series, _plane])
def test_what_is_not_finite_is_the_members_own(solve: Callable[[Product, Tensor], Tensor]) -> None:
    matrix, right = definite(), normal(MEMBERS, SIZE, seed=1)
    sound = solve(by(matrix), right)
    matrix[1, 2, 3] = torch.nan
    found = solve(by(matrix), right)
    assert not bool(found[1].isfinite().all())
    others = [0, 2, 3]
    torch.testing.assert_close(found[others], sound[others], rtol=0, atol=1e-14)


def test_functions_of_matrices_go_by_eigenvalues() -> None:
    matrix = definite(-0.5)
    values = torch.linalg.eigvalsh(matrix)
    found = spectral(matrix, lambda own: own.abs())
    torch.testing.assert_close(torch.linalg.eigvalsh(found), values.abs().sort(dim=-1).values, rtol=0, atol=1e-12)
    torch.testing.assert_close(found @ found, matrix @ matrix, rtol=0, atol=1e-12)


def test_a_matrix_without_eigenvalues_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """LAPACK gives up on some matrices, and then on the whole batch that has one."""
    matrix = definite()
    wanted = spectral(matrix, torch.reciprocal)
    true_one, stubborn = torch.linalg.eigh, matrix[2].clone()

    def eigh(given: Tensor) -> tuple[Tensor, Tensor]:
        if bool((given == stubborn).flatten(-2).all(dim=-1).any()):
            raise torch.linalg.LinAlgError("failed to converge")  # type: ignore[attr-defined]  # see there
        values, vectors = true_one(given)
        return values, vectors

    monkeypatch.setattr(torch.linalg, "eigh", eigh)
    found = spectral(matrix, torch.reciprocal)
    assert not bool(found[2].isfinite().any())
    torch.testing.assert_close(found[[0, 1, 3]], wanted[[0, 1, 3]], rtol=0, atol=1e-13)
