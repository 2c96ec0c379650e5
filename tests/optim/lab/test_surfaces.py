"""Surfaces: values, gradients, minima and starts are what their formulas say."""

import math

import pytest
import torch

from optim.lab.contours import contours
from optim.lab.surfaces import SURFACES, Surface, surface_of

EACH = pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)


def places() -> torch.Tensor:
    return torch.randn(2, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@EACH
def test_gradients_are_those_of_the_value(surface: Surface) -> None:
    x, y = places().requires_grad_()
    expected = torch.autograd.grad(surface.value(x, y).sum(), (x, y))
    for ours, theirs in zip(surface.gradient(x, y), expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-12, atol=1e-12)


@EACH
def test_numbers_and_tensors_agree(surface: Surface) -> None:
    x, y = places()
    one = surface.value(float(x[0]), float(y[0]))
    assert one == pytest.approx(float(surface.value(x, y)[0]), rel=1e-12)


@EACH
def test_runs_begin_before_the_stop_and_in_the_window(surface: Surface) -> None:
    x, y = surface.start
    assert not surface.stop.holds(y, surface.value(x, y))
    assert surface.window.left < x < surface.window.right
    assert surface.window.bottom < y < surface.window.top


@pytest.mark.parametrize("name", [name for name, surface in SURFACES.items() if surface.minimum is not None])
def test_the_minimum_is_one(name: str) -> None:
    surface = SURFACES[name]
    assert surface.minimum is not None
    assert surface.value(*surface.minimum) == 0
    assert surface.gradient(*surface.minimum) == (0, 0)
    assert (surface.value(*places()) > 0).all()
    assert surface.stop.holds(surface.minimum[1], 0.0)


def test_the_saddle_has_none_and_is_left_by_y() -> None:
    saddle = surface_of("saddle")
    assert saddle.minimum is None
    assert [saddle.stop.holds(y, 0.0) for y in (1.0, -1.1, 1.1)] == [False, True, True]


def test_the_rotated_quadratic_is_the_quadratic_turned() -> None:
    x, y = places()
    half = math.pi / 4
    turned = x * math.cos(half) - y * math.sin(half), x * math.sin(half) + y * math.cos(half)
    torch.testing.assert_close(surface_of("rotated-quadratic").value(*turned), surface_of("quadratic").value(x, y))
    assert math.hypot(*surface_of("rotated-quadratic").start) == pytest.approx(math.hypot(3, 1))
    start = surface_of("rotated-quadratic").value(*surface_of("rotated-quadratic").start)
    assert start == pytest.approx(surface_of("quadratic").value(3.0, 1.0))


def test_rates_are_quarters_of_a_decade() -> None:
    rates = surface_of("beale").rates
    assert len(rates) == 21
    assert rates[0] == pytest.approx(1e-4)
    assert rates[9] == pytest.approx(10**-1.75)
    assert rates[-1] == pytest.approx(10)
    assert surface_of("saddle").rates == rates[:9]


def test_an_unknown_surface_is_told_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="unknown surface 'x'; valid: quadratic, rotated-quadratic, beale"):
        surface_of("x")


@EACH
def test_contours_are_values_over_the_window(surface: Surface) -> None:
    grid = contours(surface, 5)
    assert (grid.x[0], grid.x[-1]) == (surface.window.left, surface.window.right)
    assert (grid.y[0], grid.y[-1]) == (surface.window.bottom, surface.window.top)
    assert [len(row) for row in grid.values] == [5] * 5
    assert grid.values[1][3] == pytest.approx(surface.value(grid.x[3], grid.y[1]), rel=1e-12)
