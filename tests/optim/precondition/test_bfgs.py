"""Inverses that are learned by BFGS: they obey the secant equation, stay positive, and come to be the inverse."""

import torch
from torch import Tensor

from optim.precondition.matrices import bfgs

MU, ADDED = torch.tensor(0.2, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def positive(*front: int, size: int, seed: int) -> Tensor:
    half = random(*front, size, size, seed=seed)
    return half @ half.mT + torch.eye(size, dtype=torch.float64)


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def test_it_is_the_formula_and_obeys_the_secant_equation() -> None:
    inverse, s = positive(3, size=4, seed=1), random(3, 4, seed=2)
    y = times(positive(3, size=4, seed=3), s)
    found = bfgs.learned(inverse, s, y)
    assert (times(found, y) - s).abs().max() <= 1e-10
    for place in range(3):
        rate = 1 / (s[place] @ y[place])
        left = torch.eye(4).double() - rate * torch.outer(s[place], y[place])
        wanted = left @ inverse[place] @ left.T + rate * torch.outer(s[place], s[place])
        assert (found[place] - wanted).abs().max() <= 1e-10
        assert torch.linalg.eigvalsh(found[place])[0] > 0


def test_what_would_not_stay_positive_is_not_learned() -> None:
    inverse, s = positive(2, size=3, seed=1), random(2, 3, seed=2)
    y = torch.stack([-s[0], torch.zeros(3, dtype=torch.float64)])
    assert torch.equal(bfgs.learned(inverse, s, y), inverse)


def test_of_many_directions_it_learns_the_inverse() -> None:
    matrix, found = positive(size=4, seed=5), torch.eye(4, dtype=torch.float64)
    for step in range(200):
        s = random(4, seed=100 + step)
        found = bfgs.learned(found, s, matrix @ s)
    assert (found @ matrix - torch.eye(4)).abs().max() <= 1e-6


def test_damping_moves_pairs_as_far_as_it_must_and_no_further() -> None:
    inverse = positive(2, size=3, seed=1)
    y = random(2, 3, seed=2)
    back = times(inverse, y)
    least = torch.linalg.vecdot(y, back)
    s = torch.stack([back[0], -back[1]])
    found, change = bfgs.damped(inverse, s, y, mu=MU, added=ADDED)
    assert torch.equal(found[0], s[0])
    assert torch.equal(change, y)
    assert (torch.linalg.vecdot(found[1], y[1]) - MU * least[1]).abs() <= 1e-12 * least[1]
    assert torch.linalg.matrix_rank(torch.stack([found[1], s[1], back[1]]), rtol=1e-10) == 1  # between the two


def test_what_is_added_bounds_the_inverse() -> None:
    inverse, s = torch.eye(3, dtype=torch.float64) * 100, random(3, seed=4)
    moved, change = bfgs.damped(inverse, s, torch.zeros_like(s), mu=MU, added=ADDED + 0.5)
    found = bfgs.learned(inverse, moved, change)
    assert (s @ found @ s / (s @ s)).item() <= 2 + 1e-12
