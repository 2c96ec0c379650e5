"""Inverse roots of matrices, by either way, against their definition."""

import pytest
import torch
from torch import Tensor

from optim.precondition.matrices.roots import ROOTS, inverse_root, largest_eigenvalue

EPS = torch.tensor(1e-3, dtype=torch.float64)


def covariances(*front: int, size: int, rank: int) -> Tensor:
    factors = torch.randn(*front, size, rank, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return factors @ factors.mT


@pytest.mark.parametrize("by", ROOTS)
@pytest.mark.parametrize("power", [2, 4, 8])
@pytest.mark.parametrize("rank", [2, 9])
def test_the_root_to_its_power_is_the_inverse(by: str, power: int, rank: int) -> None:
    matrix = covariances(3, size=6, rank=rank)
    ridge = 1e-3 * torch.linalg.eigvalsh(matrix)[:, -1]
    wanted = torch.linalg.inv(matrix + ridge[:, None, None] * torch.eye(6))
    got = torch.linalg.matrix_power(inverse_root(matrix, power, EPS, by=by), power)
    assert (got - wanted).abs().max() <= 1e-8 * wanted.abs().max()


def test_both_ways_agree_whatever_stands_in_front() -> None:
    matrix = covariances(2, 3, size=5, rank=4)
    eps = torch.tensor([1e-2, 1e-4], dtype=torch.float64)[:, None]
    first, second = (inverse_root(matrix, 4, eps, by=by) for by in ROOTS)
    assert (first - second).abs().max() <= 1e-8 * first.abs().max()
    alone = inverse_root(matrix[1, 2], 4, eps[1, 0], by=ROOTS[1])
    assert (second[1, 2] - alone).abs().max() <= 1e-10 * alone.abs().max()


@pytest.mark.parametrize("by", ROOTS)
def test_single_precision_stands_small_and_large_matrices(by: str) -> None:
    for size in (1e-20, 1e20):
        matrix = (covariances(size=8, rank=20) * size).float()
        root = inverse_root(matrix, 2, torch.tensor(1e-6), by=by)
        assert (root @ matrix @ root - torch.eye(8)).abs().max() <= 1e-3


@pytest.mark.parametrize("by", ROOTS)
def test_of_nothing_the_root_is_the_identity_and_of_nonsense_none(by: str) -> None:
    matrices = torch.stack([torch.zeros(4, 4), torch.full((4, 4), torch.nan), torch.eye(4)]).double()
    found = inverse_root(matrices, 4, EPS, by=by)
    assert torch.equal(found[0], torch.eye(4).double())
    assert bool(found[1].isnan().all())
    assert (found[2] - torch.eye(4).double() * 1.001**-0.25).abs().max() <= 1e-12


def test_the_largest_eigenvalue() -> None:
    matrix = covariances(4, size=7, rank=7)
    assert (largest_eigenvalue(matrix) / torch.linalg.eigvalsh(matrix)[:, -1] - 1).abs().max() <= 1e-6
