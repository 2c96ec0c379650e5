"""Schedules against their closed forms, and populations of them against separate calls."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from optim import catalog
from optim.schedules import DECAYS, schedule

TOTAL = 210
Form = Callable[[int, int], float]


def steps(count: int) -> torch.Tensor:
    return torch.arange(count)


def restarts(k: int, count: int, cycles: int, growth: float) -> float:
    """Half a cosine over the cycle that holds step k, 1 at its start."""
    shares = [sum(growth**i for i in range(j)) / sum(growth**i for i in range(cycles)) for j in range(cycles + 1)]
    bounds = [round(count * share) for share in shares]
    began, end = next((low, high) for low, high in pairwise(bounds) if low <= k < high)
    return 0.5 + 0.5 * math.cos(math.pi * (k - began) / (end - began))


def one_cycle(k: int, count: int, rise: float, start: float, final: float) -> float:
    top = rise * count - 1
    if k < top:
        return 1 + (start - 1) * (1 + math.cos(math.pi * k / top)) / 2
    return final + (1 - final) * (1 + math.cos(math.pi * (k - top) / (count - 1 - top))) / 2


def wsd(k: int, count: int, last: float, descent: Callable[[float], float]) -> float:
    falling = round(last * count)
    return descent(max(0, k - (count - falling)) / falling)


# name, options, closed form of the step k after warm-up, of `count` such steps
FORMS: list[tuple[str, dict[str, Any], Form]] = [
    ("constant", {}, lambda _k, _count: 1.0),
    ("step", {"decay_gamma": 0.5, "decay_every": 0.1}, lambda k, count: 0.5 ** (k // round(0.1 * count))),
    ("step", {}, lambda k, count: 0.1 ** (k // round(count / 3))),
    ("multistep", {}, lambda k, count: 0.1 ** ((k >= round(0.5 * count)) + (k >= round(0.75 * count)))),
    (
        "multistep",
        {"decay_milestones": (0.1, 0.3, 0.9), "decay_gamma": 0.5},
        lambda k, count: 0.5 ** sum(k >= round(m * count) for m in (0.1, 0.3, 0.9)),
    ),
    ("exponential", {"decay_final": 0.05}, lambda k, count: math.exp(math.log(0.05) / count * k)),
    ("time", {"decay_rate": 4.0}, lambda k, count: 1 / (1 + 4.0 / count * k)),
    ("inverse_sqrt", {}, lambda k, count: (1 + 24 * k / count) ** -0.5),
    ("inverse_sqrt", {"decay_rate": 4.0}, lambda k, count: math.sqrt(count / (count + 4 * k))),
    ("linear", {}, lambda k, count: 1 - k / count),
    ("linear", {"decay_final": 0.2}, lambda k, count: 1 - 0.8 * k / count),
    ("polynomial", {}, lambda k, count: ((count - k) / count) ** 2),
    (
        "polynomial",
        {"decay_final": 0.2, "decay_power": 0.9},
        lambda k, count: 0.2 + 0.8 * ((count - k) / count) ** 0.9,
    ),
    ("cosine", {}, lambda k, count: (1 + math.cos(math.pi * k / count)) / 2),
    ("cosine", {"decay_final": 0.2}, lambda k, count: 0.2 + 0.4 * (1 + math.cos(math.pi * k / count))),
    ("cosine_restarts", {}, lambda k, count: restarts(k, count, 3, 1.0)),
    ("cosine_restarts", {"decay_cycles": 1}, lambda k, count: (1 + math.cos(math.pi * k / count)) / 2),
    (
        "cosine_restarts",
        {"decay_cycles": 4, "decay_growth": 1.5, "decay_final": 0.1},
        lambda k, count: 0.1 + 0.9 * restarts(k, count, 4, 1.5),
    ),
    ("one_cycle", {}, lambda k, count: one_cycle(k, count, 0.3, 0.04, 4e-6)),
    (
        "one_cycle",
        {"decay_rise": 0.5, "decay_start": 0.1, "decay_final": 0.01},
        lambda k, count: one_cycle(k, count, 0.5, 0.1, 0.01),
    ),
    ("wsd", {}, lambda k, count: wsd(k, count, 0.2, lambda v: 1 - math.sqrt(v))),
    (
        "wsd",
        {"decay_last": 0.35, "decay_shape": "linear", "decay_final": 0.1},
        lambda k, count: wsd(k, count, 0.35, lambda v: 1 - 0.9 * v),
    ),
    (
        "wsd",
        {"decay_last": 1.0, "decay_shape": "cosine"},
        lambda k, count: wsd(k, count, 1.0, lambda v: (1 + math.cos(math.pi * v)) / 2),
    ),
    ("plateau", {"decay_gamma": 0.5}, lambda _k, _count: 1.0),
]


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.333])
@pytest.mark.parametrize(("name", "options", "form"), FORMS)
def test_equals_closed_form(name: str, options: dict[str, Any], form: Form, warmup: float) -> None:
    rising = math.ceil(warmup * TOTAL)
    factors = schedule(name, total_steps=TOTAL, warmup=warmup, **options)(steps(TOTAL)).tolist()
    for step, factor in enumerate(factors):
        wanted = (step + 1) / rising if step < rising else form(step - rising, TOTAL - rising)
        assert factor == pytest.approx(wanted, rel=0, abs=1e-12)


def test_every_catalog_name_is_compared() -> None:
    assert {form[0] for form in FORMS} == set(catalog.SCHEDULES) == set(DECAYS)


def test_inverse_sqrt_is_that_of_its_source_after_its_warmup() -> None:
    rising, total = 40, 1000
    factors = schedule("inverse_sqrt", total_steps=total, warmup_steps=rising)(steps(total)).tolist()
    for k, factor in enumerate(factors[rising:]):
        assert factor == pytest.approx(math.sqrt(rising / (rising + k)), abs=1e-12)


def test_drops_and_restarts_come_at_their_step_and_never_late() -> None:
    for total in range(10, 400, 3):
        tenths = schedule("multistep", total_steps=total, decay_milestones=(0.1, 0.3, 0.7))(steps(total))
        passed = [sum(step >= max(1, round(total * m)) for m in (0.1, 0.3, 0.7)) for step in range(total)]
        assert torch.allclose(tenths, 0.1 ** torch.tensor(passed, dtype=torch.float64), rtol=1e-12)
        even = schedule("step", total_steps=total, decay_every=0.1)(steps(total))
        passed = [step // round(0.1 * total) for step in range(total)]
        assert torch.allclose(even, 0.1 ** torch.tensor(passed, dtype=torch.float64), rtol=1e-12)
        waves = schedule("cosine_restarts", total_steps=3 * total)(steps(3 * total))
        assert (waves == 1).nonzero().flatten().tolist() == [0, total, 2 * total]


def test_stable_is_exactly_the_base_rate() -> None:
    for total in range(5, 400, 5):
        factors = schedule("wsd", total_steps=total)(steps(total + 1))
        assert (factors[: total * 4 // 5 + 1] == 1).all()
        assert factors[-1].item() == 0.0


@pytest.mark.parametrize("name", sorted(set(DECAYS) - {"one_cycle"}))
def test_does_not_depend_on_the_number_of_steps(name: str) -> None:
    few = schedule(name, total_steps=180)(steps(180)[::3])
    many = schedule(name, total_steps=60)(steps(60))
    assert torch.allclose(few, many, rtol=0, atol=1e-12)


def _spread(value: Any) -> tuple[Any, list[Any]]:
    """Return an option for four members, as a tensor or a list of names, and that of each."""
    if isinstance(value, str):
        names = ["linear", "sqrt", "cosine", value]
        return names, names
    if isinstance(value, int):
        return torch.tensor([value, value + 1, value + 2, value]), [value, value + 1, value + 2, value]
    # Down from the value for fractions, up for what is at least 1.
    scales = torch.tensor([1.0, 0.9, 0.8, 0.7], dtype=torch.float64)
    together = torch.tensor(value, dtype=torch.float64) * (scales.reshape(4, 1) if isinstance(value, tuple) else scales)
    if isinstance(value, float) and value > 1:
        together = together.clamp(min=1)
    return together, together.tolist()


@pytest.mark.parametrize(("name", "options", "form"), FORMS)
def test_a_population_equals_separate_calls(name: str, options: dict[str, Any], form: Form) -> None:
    del form
    total = torch.tensor([10, 50, 60, 200])
    warmup = torch.tensor([0.0, 0.5, 0.0, 0.3], dtype=torch.float64)
    counts, shapes = torch.tensor([0, 0, 17, 0]), ["none", "cosine", "exponential", "linear"]
    spread = {key: _spread(value) for key, value in options.items()}
    shared: dict[str, Any] = {key: pair[0] for key, pair in spread.items()}
    whole = schedule(name, total_steps=total, warmup=warmup, warmup_steps=counts, warmup_shape=shapes, **shared)
    together = whole(steps(210).reshape(210, 1))
    assert together.shape == (210, 4)
    for i in range(4):
        own: dict[str, Any] = {key: pair[1][i] for key, pair in spread.items()}
        alone = schedule(
            name,
            total_steps=int(total[i]),
            warmup=warmup[i].item(),
            warmup_steps=int(counts[i]),
            warmup_shape=shapes[i],
            **own,
        )
        assert torch.allclose(together[:, i], alone(steps(210)), rtol=0, atol=1e-12)
        at = torch.tensor([3, 8, 40, 150])
        assert whole(at)[i].item() == pytest.approx(alone(at[i]).item(), abs=1e-12)


def test_members_may_have_points_of_different_number() -> None:
    points = torch.tensor([[0.5, math.nan], [0.2, 0.6]])
    together = schedule("multistep", total_steps=10, decay_milestones=points)(steps(10).reshape(10, 1))
    for i, own in enumerate([(0.5,), (0.2, 0.6)]):
        alone = schedule("multistep", total_steps=10, decay_milestones=own)(steps(10))
        assert torch.equal(together[:, i], alone)


def test_choices_of_members_may_be_places() -> None:
    names = schedule("wsd", total_steps=20, decay_shape=["cosine", "linear"])
    places = schedule("wsd", total_steps=20, decay_shape=torch.tensor([2, 0]))
    at = steps(20).reshape(20, 1)
    assert torch.equal(names(at), places(at))


@pytest.mark.parametrize(
    ("name", "options", "end"),
    [
        ("exponential", {"decay_final": 0.25}, 0.25),
        ("linear", {"decay_final": 0.25}, 0.25),
        ("polynomial", {"decay_final": 0.25}, 0.25),
        ("cosine", {"decay_final": 0.25}, 0.25),
        ("cosine_restarts", {"decay_final": 0.25}, 0.25),
        ("one_cycle", {"decay_final": 0.25}, 0.25),
        ("wsd", {"decay_final": 0.25}, 0.25),
        ("time", {"decay_rate": 4.0}, 0.2),
        ("inverse_sqrt", {"decay_rate": 3.0}, 0.5),
        ("step", {"decay_every": 0.5, "decay_gamma": 0.5}, 0.25),
        ("multistep", {"decay_gamma": 0.5}, 0.25),
    ],
)
def test_stays_at_its_end_beyond_the_last_step(name: str, options: dict[str, Any], end: float) -> None:
    factor = schedule(name, total_steps=10, **options)
    assert factor(torch.tensor(10)).item() == factor(torch.tensor(1000)).item() == pytest.approx(end, abs=1e-15)


@pytest.mark.parametrize("name", sorted(DECAYS))
def test_is_float64_and_finite_on_every_kind_of_step(name: str) -> None:
    for total in (1, 2, 3, 7):
        for kind in (torch.int32, torch.int64, torch.float32):
            factors = schedule(name, total_steps=total, warmup=0.3)(torch.arange(2 * total, dtype=kind))
            assert factors.dtype == torch.float64
            assert bool(((factors >= 0) & (factors <= 1)).all())


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(DECAYS))
def test_computes_on_the_device_of_the_step(name: str) -> None:
    factor = schedule(name, total_steps=torch.tensor([50, 60]), warmup=0.1, warmup_shape=["cosine", "linear"])
    at = steps(60).reshape(60, 1)
    there = factor(at.cuda())
    assert there.is_cuda
    assert torch.allclose(there.cpu(), factor(at), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "sine"},
            "unknown schedule 'sine'; valid: constant, step, multistep, exponential, time, inverse_sqrt",
        ),
        ({"name": "step", "gamma": 0.5}, "step: gamma: not an option of step; valid: decay_gamma, decay_every"),
        ({"name": "step", "gamma": torch.tensor([])}, "step: gamma: not an option of step"),
        ({"name": "constant", "gamma": 0.5}, "not an option of constant; valid: none"),
        ({"name": "step", "decay_gamma": 0.0}, r"step: decay_gamma: must be in \(0, 1\], got 0.0"),
        (
            {"name": "step", "decay_gamma": 0.0, "decay_every": 2.0},
            r"decay_gamma: must be in \(0, 1\], got 0.0; step: decay_every: must be in \(0, 1\], got 2.0",
        ),
        ({"name": "cosine", "decay_final": torch.tensor([0.5, 1.5])}, r"decay_final: must be in \[0, 1\], got 1.5"),
        (
            {"name": "multistep", "decay_milestones": (0.7, 0.5)},
            "decay_milestones: must rise from point to point, got 0.5",
        ),
        ({"name": "multistep", "decay_milestones": ()}, r"must be a list of numbers in \(0, 1\), got \(\)"),
        (
            {"name": "multistep", "decay_milestones": torch.tensor(0.5)},
            r"must be a list of numbers in \(0, 1\), got 0.5",
        ),
        ({"name": "multistep", "decay_milestones": (0.5, 1.0)}, r"\[1\] must be in \(0, 1\), got 1.0"),
        ({"name": "multistep", "decay_milestones": torch.tensor([[0.2, 0.5], [0.5, 0.25]])}, "must rise .* got 0.25"),
        (
            {"name": "multistep", "decay_milestones": torch.tensor([math.nan, 0.5])},
            r"\[0\] must be in \(0, 1\), got nan",
        ),
        (
            {"name": "cosine_restarts", "decay_cycles": 1.5},
            r"decay_cycles: must be a whole number in \[1, 100\], got 1.5",
        ),
        ({"name": "cosine_restarts", "decay_cycles": torch.tensor([2.0, 2.5])}, "must be a whole number .* got 2.5"),
        ({"name": "one_cycle", "decay_rise": 1.0}, r"decay_rise: must be in \(0, 1\), got 1.0"),
        ({"name": "wsd", "decay_shape": "square"}, "decay_shape: must be one of linear, sqrt, cosine, got 'square'"),
        ({"name": "wsd", "decay_shape": ["sqrt", "square"]}, "must be one of linear, sqrt, cosine, got 'square'"),
        ({"name": "wsd", "decay_shape": torch.tensor([0, 3])}, "must be one of linear, sqrt, cosine, got 3"),
        ({"name": "plateau", "decay_gamma": 1.0}, r"plateau: decay_gamma: must be in \(0, 1\), got 1.0"),
        ({"name": "cosine", "total_steps": float("inf")}, "total_steps must be a finite number of at least 1, got inf"),
        ({"name": "cosine", "total_steps": 0}, "total_steps must be a finite number of at least 1, got 0"),
        ({"name": "cosine", "total_steps": math.nan}, "total_steps must be a finite number of at least 1, got nan"),
        (
            {"name": "cosine", "total_steps": torch.ones(3), "decay_final": torch.ones(4)},
            r"shapes that broadcast, got total_steps \(3,\), decay_final \(4,\)",
        ),
    ],
)
def test_refuses(arguments: dict[str, Any], message: str) -> None:
    given = {"total_steps": 10, **arguments}
    with pytest.raises(ValueError, match=message):
        schedule(**given)


def test_one_cycle_of_a_single_step_is_its_top() -> None:
    assert schedule("one_cycle", total_steps=1)(torch.tensor(0)).item() == 1.0
    assert schedule("one_cycle", total_steps=10, warmup_steps=9)(torch.tensor(9)).item() == 1.0
