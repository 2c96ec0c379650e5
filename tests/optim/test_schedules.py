"""Schedules against their closed forms, and warm-up."""

import math
from collections.abc import Callable

import pytest
import torch

from optim import catalog
from optim.schedules import DECAYS, schedule, warmup_steps

TOTAL = 200


def steps(count: int) -> torch.Tensor:
    return torch.arange(count)


# name, options, closed form of the step k after warm-up, of `count` such steps
FORMS: list[tuple[str, dict[str, float], Callable[[int, int], float]]] = [
    ("constant", {}, lambda _k, _count: 1.0),
    ("step", {"decay_gamma": 0.5, "decay_every": 0.1}, lambda k, count: 0.5 ** (k // round(0.1 * count))),
    ("step", {}, lambda k, count: 0.1 ** (k // round(count / 3))),
    ("exponential", {"decay_final": 0.05}, lambda k, count: math.exp(math.log(0.05) / count * k)),
    ("time", {"decay_rate": 4.0}, lambda k, count: 1 / (1 + 4.0 / count * k)),
    ("cosine", {}, lambda k, count: (1 + math.cos(math.pi * k / count)) / 2),
    ("cosine", {"decay_final": 0.2}, lambda k, count: 0.2 + 0.4 * (1 + math.cos(math.pi * k / count))),
]


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.333])
@pytest.mark.parametrize(("name", "options", "form"), FORMS)
def test_equals_closed_form(
    name: str, options: dict[str, float], form: Callable[[int, int], float], warmup: float
) -> None:
    rising = math.ceil(warmup * TOTAL)
    factors = schedule(name, total_steps=TOTAL, warmup=warmup, **options)(steps(TOTAL)).tolist()
    for step, factor in enumerate(factors):
        wanted = (step + 1) / rising if step < rising else form(step - rising, TOTAL - rising)
        assert factor == pytest.approx(wanted, abs=1e-12)


def test_every_catalog_name_is_compared() -> None:
    assert {form[0] for form in FORMS} == set(catalog.SCHEDULES) == set(DECAYS)


def test_cosine_and_step_equal_torchs() -> None:
    parameter = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    peer = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL)
    ours = schedule("cosine", total_steps=TOTAL)(steps(TOTAL)).tolist()
    for factor in ours:
        assert factor == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        peer.step()


@pytest.mark.parametrize("name", sorted(DECAYS))
def test_warmup_reaches_the_base_rate_exactly_and_then_never_rises(name: str) -> None:
    for total, warmup, rising in [(200, 0.1, 20), (30, 0.07, 3), (100, 0.07, 7), (7, 0.999, 7), (1, 0.5, 1)]:
        assert warmup_steps(total, warmup).item() == rising
        factors = schedule(name, total_steps=total, warmup=warmup)(steps(total))
        assert factors[rising - 1].item() == 1.0
        assert bool((factors[:rising].diff() > 0).all())
        assert bool((factors[rising - 1 :].diff() <= 0).all())


@pytest.mark.parametrize("name", sorted(DECAYS))
def test_does_not_depend_on_the_number_of_steps(name: str) -> None:
    few = schedule(name, total_steps=90)(steps(90)[::3])
    many = schedule(name, total_steps=30)(steps(30))
    assert torch.allclose(few, many, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "options", "form"), FORMS)
def test_a_population_equals_separate_calls(
    name: str, options: dict[str, float], form: Callable[[int, int], float]
) -> None:
    del form
    at, total, warmup = (
        torch.tensor([0, 5, 40, 99]),
        torch.tensor([10, 50, 60, 200]),
        torch.tensor([0.0, 0.5, 0.1, 0.3]),
    )
    spread = {key: value * torch.tensor([1.0, 0.9, 0.8, 0.7]) for key, value in options.items()}
    together = schedule(name, total_steps=total, warmup=warmup, **spread)(at)
    for i in range(4):
        own = {key: value[i].item() for key, value in spread.items()}
        alone = schedule(name, total_steps=int(total[i]), warmup=warmup[i].item(), **own)(at[i])
        assert together[i].item() == pytest.approx(alone.item(), abs=1e-12)


def test_stays_at_its_end_beyond_the_last_step() -> None:
    factor = schedule("exponential", total_steps=10, decay_final=0.25)
    assert factor(torch.tensor(10)).item() == factor(torch.tensor(1000)).item() == 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "linear"}, "unknown schedule 'linear'; valid: constant, step, exponential, time, cosine"),
        ({"name": "step", "gamma": 0.5}, "step: gamma: not an option of step; valid: decay_gamma, decay_every"),
        ({"name": "constant", "gamma": 0.5}, "not an option of constant; valid: none"),
        ({"name": "step", "decay_gamma": 0.0}, r"step: decay_gamma: must be in \(0, 1\], got 0.0"),
        ({"name": "cosine", "decay_final": torch.tensor([0.5, 1.5])}, r"decay_final: must be in \[0, 1\], got 1.5"),
        ({"name": "cosine", "warmup": 1.0}, r"warmup: must be in \[0, 1\), got 1.0"),
        ({"name": "cosine", "total_steps": 0}, "total_steps must be at least 1, got 0"),
    ],
)
def test_refuses(arguments: dict[str, object], message: str) -> None:
    given = {"total_steps": 10, **arguments}
    with pytest.raises(ValueError, match=message):
        schedule(**given)  # type: ignore[arg-type]
