"""The noise scale of a quadratic whose noise is known, from examples and from batches of two sizes."""

import pytest
import torch
from torch import Tensor

from optim.precondition import noise
from optim.precondition.noise import NoiseScale

CURVES = torch.tensor([1.0, 3.0, 0.5, 2.0], dtype=torch.float64)
SPREAD = torch.tensor([0.5, 0.2, 1.0, 0.3], dtype=torch.float64)
POINT = torch.tensor([0.3, -0.2, 0.4, 0.1], dtype=torch.float64)
# Each example's loss is sum_i curve_i (w_i - x_i)^2 / 2 with x_i normal about 0.
SIGNAL = float((CURVES * POINT).square().sum())
NOISE = float((CURVES * SPREAD).square().sum())


def examples(count: int, seed: int = 0) -> Tensor:
    """Return gradients of so many examples at the point."""
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * SPREAD
    return CURVES * (POINT - x)


def near(found: NoiseScale, share: float) -> None:
    assert float(found.signal) == pytest.approx(SIGNAL, rel=share)
    assert float(found.noise) == pytest.approx(NOISE, rel=share)
    assert float(found.scale) == pytest.approx(NOISE / SIGNAL, rel=share)


def test_over_all_data_it_is_exact() -> None:
    grads = examples(50)
    found = noise.of_all(noise.moments(grads))
    mean = grads.mean(dim=0)
    torch.testing.assert_close(found.signal, mean.dot(mean), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.noise, torch.cov(grads.T, correction=0).trace(), rtol=0, atol=1e-12)
    near(noise.of_all(noise.moments(examples(200_000))), 0.02)


def test_examples_may_come_in_parts() -> None:
    grads = examples(60)
    parts = noise.together(noise.moments(grads[:45]), noise.moments(grads[45:]))
    for one, other in zip(noise.of_sample(parts), noise.of_sample(noise.moments(grads)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert parts.examples == 60


def test_a_sample_is_within_a_fifth_and_small_ones_are_right_on_the_mean() -> None:
    near(noise.of_sample(noise.moments(examples(4000))), 0.2)
    small = noise.of_sample(noise.moments(examples(60_000).reshape(20_000, 3, 4)))
    near(NoiseScale(small.signal.mean(), small.noise.mean()), 0.03)
    biased = noise.of_all(noise.moments(examples(60_000).reshape(20_000, 3, 4)))
    assert float(biased.noise.mean()) < 0.7 * NOISE


def test_two_sizes_of_batches_are_within_a_fifth() -> None:
    small = examples(4 * 2000).reshape(2000, 4, 4).mean(dim=1).square().sum(dim=-1)
    large = examples(64 * 2000, seed=1).reshape(2000, 64, 4).mean(dim=1).square().sum(dim=-1)
    near(noise.of_two_sizes(small, large, sizes=(4, 64)), 0.2)
    near(noise.of_two_sizes(large, small, sizes=(64, 4)), 0.2)


def test_members_have_each_their_own() -> None:
    grads = torch.stack([examples(30), examples(30, seed=3)])
    found = noise.of_sample(noise.moments(grads))
    for place in range(2):
        torch.testing.assert_close(found.scale[place], noise.of_sample(noise.moments(grads[place])).scale)
    lengths = grads.square().sum(dim=-1)
    two = noise.of_two_sizes(lengths, lengths / 2, sizes=(1, 8))
    torch.testing.assert_close(two.noise[1], noise.of_two_sizes(lengths[1], lengths[1] / 2, sizes=(1, 8)).noise)
