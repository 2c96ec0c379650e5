"""Thresholds, and how many are over them."""

import math

import pytest
import torch

from optim.sparse.thresholds import THRESHOLDS, expected_share
from tests.optim.sparse import cases


def test_each_is_what_it_says() -> None:
    assert THRESHOLDS["fixed"](1.25, 1000) == 1.25
    assert THRESHOLDS["width"](0.4, 10**5) == pytest.approx(math.sqrt(0.4 * math.log(10**5)))
    assert expected_share(THRESHOLDS["share"](0.03, 1000)) == pytest.approx(0.03)


@pytest.mark.parametrize("share", [0.5, 0.8, 1.0])
def test_of_a_half_and_more_the_threshold_is_zero(share: float) -> None:
    assert THRESHOLDS["share"](share, 1000) == 0.0


@pytest.mark.parametrize("width", [1000, 10_000, 100_000])
def test_as_many_are_active_as_the_gaussian_tail_says(width: int) -> None:
    layer = cases.layer(inputs=50_000_000 // width // 8, width=width, features=64)
    threshold = THRESHOLDS["width"](0.4, width)
    mean = (layer.inputs @ layer.weights.T > threshold).sum(1).double().mean().item()
    assert mean == pytest.approx(width * expected_share(threshold), rel=0.03)
    assert mean <= width**0.8


def test_the_share_does_not_depend_on_the_dimension() -> None:
    shares = [
        (each.inputs @ each.weights.T > 1.0).double().mean().item()
        for each in (cases.layer(inputs=500, width=4000, features=features) for features in (4, 16, 256))
    ]
    assert torch.tensor(shares).sub(expected_share(1.0)).abs().max() < 0.005
