"""Data on the unit sphere and back."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optim.sparse.sphere import Sphere, report
from tests.optim.sparse import cases


def raw(seed: int, *, scale: float = 3.0, shift: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(50, 7, generator=cases.seeded(seed)) + shift


@pytest.mark.parametrize("centered", [False, True])
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e3, 1e30]))
def test_all_come_to_length_one_and_back(centered: bool, seed: int, scale: float) -> None:
    inputs = raw(seed, scale=scale, shift=2.0 * scale)
    sphere = Sphere.of(inputs, centered=centered)
    on_it, lengths = sphere.project(inputs)
    assert (on_it.norm(dim=1) - 1.0).abs().max() < 1e-6
    torch.testing.assert_close(sphere.restore(on_it, lengths), inputs, rtol=1e-5, atol=1e-5 * scale)


def test_what_comes_later_is_projected_about_the_same_center() -> None:
    sphere = Sphere.of(raw(0), centered=True)
    later = raw(1, shift=-1.0)
    on_it, lengths = sphere.project(later)
    torch.testing.assert_close(on_it * lengths.unsqueeze(1), later - raw(0).mean(0))


def test_zero_rows_are_refused_by_number() -> None:
    inputs = raw(0)
    inputs[[3, 9]] = 0.0
    with pytest.raises(ValueError, match=r"^inputs 3, 9 are zero"):
        Sphere.of(inputs, centered=False).project(inputs)


def test_rows_in_the_center_are_refused_by_number() -> None:
    inputs = raw(0)
    sphere = Sphere.of(inputs, centered=True)
    inputs[4] = sphere.center
    with pytest.raises(ValueError, match=r"^input 4 is equal to the mean"):
        sphere.project(inputs)


@pytest.mark.parametrize("others", [0, 50])
def test_what_differs_from_the_center_by_rounding_is_refused_whoever_is_with_it(others: int) -> None:
    sphere = Sphere.of(raw(0, shift=1000.0), centered=True)
    near = torch.nextafter(sphere.center, sphere.center + 1.0).unsqueeze(0)
    with pytest.raises(ValueError, match=r"^input 0 is equal to the mean"):
        sphere.project(torch.cat([near, raw(1, shift=1000.0)[:others]]))


@pytest.mark.parametrize("value", [0.1, 1234.567, 3e38])
def test_inputs_that_are_all_the_same_are_refused(value: float) -> None:
    inputs = torch.full((50, 3), value)
    with pytest.raises(ValueError, match=r"^inputs 0, 1, 2, 3, 4 and 45 more are equal to the mean"):
        Sphere.of(inputs, centered=True).project(inputs)


def test_large_numbers_have_a_mean() -> None:
    inputs = raw(0, scale=1e37, shift=2e38)
    sphere = Sphere.of(inputs, centered=True)
    torch.testing.assert_close(sphere.center.double(), inputs.double().mean(0))
    assert (sphere.project(inputs)[0].norm(dim=1) - 1.0).abs().max() < 1e-6


def test_one_beyond_the_numbers_is_named_and_not_all_the_others() -> None:
    inputs = torch.zeros(3, 2)
    inputs[0], inputs[1], inputs[2] = 3e38, -3e38, -3e38
    with pytest.raises(ValueError, match=r"^input 0 is too far out for torch\.float32"):
        Sphere.of(inputs, centered=True).project(inputs)


def test_one_input_far_out_makes_no_zeros_of_the_others() -> None:
    inputs = raw(0)
    inputs[3] *= 1e9
    on_it, _ = Sphere.of(inputs, centered=False).project(inputs)
    assert (on_it.norm(dim=1) - 1.0).abs().max() < 1e-6


def test_zeros_among_standardized_inputs_are_equal_to_the_mean() -> None:
    inputs = raw(0)
    inputs[7] = inputs[torch.arange(50) != 7].mean(0)
    standard = (inputs - inputs.mean(0)) / inputs.std(0)
    with pytest.raises(ValueError, match=r"^input 7 is equal to the mean"):
        Sphere.of(standard, centered=True).project(standard)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_rows_that_are_not_finite_are_refused_by_number(wrong: float) -> None:
    inputs = raw(0)
    sphere = Sphere.of(inputs, centered=True)
    inputs[range(0, 40, 5), 2] = wrong
    with pytest.raises(ValueError, match=r"^inputs 0, 5, 10, 15, 20 and 3 more are not finite"):
        Sphere.of(inputs, centered=True)
    with pytest.raises(ValueError, match="and 3 more are not finite"):
        sphere.project(inputs)


def test_uniform_data_have_spread_one() -> None:
    described = report(cases.points(4000, 16, seed=1), threshold=1.0)
    assert described.spread == pytest.approx(1.0, abs=0.1)
    assert described.share == pytest.approx(0.158655, abs=1e-6)


def test_data_on_one_line_have_the_largest_spread() -> None:
    line = torch.zeros(10, 9)
    line[:, 3] = 1.0
    assert report(line, threshold=0.0).spread == pytest.approx(3.0)
