"""Runs on surfaces: the reference step counts, and a run's record."""

from itertools import pairwise
from typing import Any

import pytest

from optim import catalog
from optim.lab.optimizers import OPTIMIZERS
from optim.lab.surfaces import SURFACES, surface_of
from optim.lab.trajectories import run
from optim.precondition.methods import METHODS

# Steps at the best of the 21 rates, measured with torch.optim: gradient descent, momentum 0.9, Nesterov 0.9, AdaGrad,
# RMSprop (alpha 0.9), Adam.
REFERENCE = {
    "quadratic": {"sgd": 427, "momentum": 145, "nesterov": 97, "adagrad": 8, "rmsprop": 9, "adam": 124},
    "beale": {"sgd": 99, "momentum": 68, "nesterov": 16, "adagrad": 49, "rmsprop": 36, "adam": 55},
    "saddle": {"sgd": 698, "momentum": 140, "nesterov": 132, "adagrad": 1263, "rmsprop": 72, "adam": 77},
}
# What makes a solution as exact as it can be.
EXACT: dict[str, dict[str, Any]] = {"newton": {}, "absolute_newton": {}, "hessian_free": {"tolerance": 0.0}}
OPTIONS: dict[str, dict[str, Any]] = {"rmsprop": {"alpha": 0.9}}


@pytest.mark.parametrize(
    ("surface", "name", "steps"),
    [(surface, name, steps) for surface, row in REFERENCE.items() for name, steps in row.items()],
)
def test_step_counts_are_the_reference(surface: str, name: str, steps: int) -> None:
    made = run(surface_of(surface), name, OPTIONS.get(name, {}))
    assert made.steps is not None
    assert abs(made.steps - steps) <= 0.1 * steps


def test_the_best_rates_of_gradient_descent() -> None:
    assert run(surface_of("quadratic"), "sgd", {}).lr == pytest.approx(10**-1.75)
    assert run(surface_of("saddle"), "sgd", {}).lr == pytest.approx(0.01)


def test_turning_the_axes_changes_nothing_for_gradient_descent_and_much_for_adagrad() -> None:
    straight, turned = surface_of("quadratic"), surface_of("rotated-quadratic")
    assert run(turned, "sgd", {}).steps == run(straight, "sgd", {}).steps
    assert (run(turned, "adagrad", {}).steps or 0) > 20 * (run(straight, "adagrad", {}).steps or 0)


@pytest.mark.parametrize("name", ["momentum", "adam", "rmsprop"])
def test_the_member_of_the_grid_goes_the_way_of_a_single_run(name: str) -> None:
    best = run(surface_of("beale"), name, {})
    alone = run(surface_of("beale"), name, {"lr": best.lr})
    assert alone.steps == best.steps
    assert alone.x == pytest.approx(best.x, rel=1e-12)
    assert alone.y == pytest.approx(best.y, rel=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("surface", SURFACES)
def test_every_optimizer_of_the_catalog_gets_somewhere(surface: str, name: str) -> None:
    made = run(surface_of(surface), name, {}, steps=150)
    assert (made.x[0], made.y[0]) == surface_of(surface).start
    assert len(made.x) == len(made.y) == len(made.values) > 1
    if (surface, name) != ("beale", "newton"):  # which is drawn to the saddle at (0, 1), as high as the start
        assert made.values[-1] < made.values[0]
    assert made.values == pytest.approx(
        [surface_of(surface).value(x, y) for x, y in zip(made.x, made.y, strict=True)], rel=1e-9, abs=1e-12
    )


def test_only_what_looks_at_layers_is_left_out() -> None:
    left_out = set(catalog.OPTIMIZERS) - set(OPTIMIZERS)
    assert left_out == {name for name, info in catalog.OPTIMIZERS.items() if info.layered}
    assert left_out <= set(METHODS)


@pytest.mark.parametrize("surface", ["quadratic", "rotated-quadratic"])
@pytest.mark.parametrize("name", EXACT)
def test_newton_is_at_the_minimum_of_a_quadratic_after_one_step(surface: str, name: str) -> None:
    made = run(surface_of(surface), name, {"lr": 1.0, "momentum": 0.0, "damping": 1e-12, "kl_clip": 0.0} | EXACT[name])
    assert made.steps == 1
    assert (made.x[1], made.y[1]) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_newton_is_drawn_to_a_saddle_that_its_absolute_value_leaves() -> None:
    free = {"lr": 1.0, "damping": 1e-12, "kl_clip": 0.0}
    drawn, leaves = (run(surface_of("saddle"), name, free, steps=30) for name in ("newton", "absolute_newton"))
    assert drawn.steps is None
    assert (drawn.x[-1], drawn.y[-1]) == pytest.approx((0.0, 0.0))
    assert leaves.steps == 20  # y doubles with each step, from a millionth


def test_the_path_ends_where_the_stop_first_holds() -> None:
    made = run(surface_of("beale"), "nesterov", {})
    assert made.steps == len(made.values) - 1
    assert [value < 1e-3 for value in made.values] == [False] * (made.steps or 0) + [True]


def test_a_run_that_is_cut_off_has_no_count() -> None:
    made = run(surface_of("quadratic"), "sgd", {"lr": 1e-4}, steps=10)
    assert (made.steps, made.diverged, len(made.x)) == (None, False, 11)


def test_a_run_that_diverges_ends_before_what_is_no_number() -> None:
    made = run(surface_of("beale"), "sgd", {"lr": 100.0}, steps=50)
    assert (made.steps, made.diverged) == (None, True)
    assert 1 < len(made.values) < 50
    assert made.values[-1] < float("inf")


def test_with_no_arrival_the_lowest_value_is_the_best() -> None:
    made = run(surface_of("quadratic"), "sgd", {}, steps=5)
    others = [run(surface_of("quadratic"), "sgd", {"lr": lr}, steps=5) for lr in surface_of("quadratic").rates]
    assert made.values[-1] == min(other.values[-1] for other in others if not other.diverged)


@pytest.mark.parametrize(
    ("name", "options", "variation", "turns"),
    [("sgd", {}, 35.3, 59), ("momentum_ema", {}, 5.2, 9), ("rmsprop", {"alpha": 0.9}, 0.9, 0)],
)
def test_momentum_damps_what_gradient_descent_swings(
    name: str, options: dict[str, Any], variation: float, turns: int
) -> None:
    """Total variation of y and its changes of sign, from step 1 to step 60 at a rate near the largest stable one."""
    y = run(surface_of("quadratic"), name, {"lr": 0.0195, **options}, steps=60).y[1:]
    assert sum(abs(after - before) for before, after in pairwise(y)) == pytest.approx(variation, abs=0.05)
    assert sum(before * after < 0 for before, after in pairwise(y)) == turns


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("x", {}, "unknown optimizer 'x'; valid: sgd"),
        ("kfac", {}, "kfac looks at layers of a network, and a surface has none; valid: sgd"),
        ("sgd", {"beta": 0.9}, "sgd: beta: not an option of sgd; valid: lr"),
        ("momentum", {"momentum": 1.0}, r"momentum: momentum: must be in \[0, 1\)"),
        ("sgd", {"lr": 0.0}, r"sgd: lr: must be in \(0,"),
    ],
)
def test_bad_input_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(surface_of("beale"), name, options)
