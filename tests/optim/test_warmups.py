"""Shapes of the warm-up by themselves and before every decay."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from optim import catalog
from optim.schedules import DECAYS, schedule, warmup_steps
from optim.warmups import WARMUPS

# The factor at a share of the warm-up.
FORMS: dict[str, Callable[[float], float]] = {
    "none": lambda _share: 1.0,
    "linear": lambda share: share,
    "exponential": lambda share: math.exp(math.log(0.01) * (1 - share)),
    "cosine": lambda share: math.sin(math.pi / 2 * share) ** 2,
}
RISING = sorted(set(FORMS) - {"none"})
# total, fraction, steps of the warm-up
LENGTHS = [(200, 0.1, 20), (30, 0.07, 3), (100, 0.07, 7), (7, 0.999, 7), (1, 0.5, 1)]


def test_every_catalog_name_is_compared() -> None:
    assert list(catalog.WARMUPS) == list(WARMUPS) == list(FORMS) == list(catalog.COMMON["warmup_shape"].choices)


@pytest.mark.parametrize("shape", RISING)
@pytest.mark.parametrize("rising", [1, 2, 7, 50, 99])
def test_equals_closed_form(shape: str, rising: int) -> None:
    factors = schedule("constant", total_steps=100, warmup_steps=rising, warmup_shape=shape)(torch.arange(100)).tolist()
    for step, factor in enumerate(factors):
        wanted = FORMS[shape]((step + 1) / rising) if step < rising else 1.0
        assert factor == pytest.approx(wanted, rel=0, abs=1e-12)


@pytest.mark.parametrize("name", sorted(DECAYS))
@pytest.mark.parametrize("shape", RISING)
def test_reaches_the_base_rate_exactly_and_then_decays(shape: str, name: str) -> None:
    for total, warmup, rising in LENGTHS:
        assert warmup_steps(total, warmup).item() == rising
        factors = schedule(name, total_steps=total, warmup=warmup, warmup_shape=shape)(torch.arange(total))
        assert factors[rising - 1].item() == 1.0
        assert bool((factors[:rising].diff() > 0).all())
        # What follows is the decay over the steps that are left.
        alone = schedule(name, total_steps=max(total - rising, 1))(torch.arange(total - rising))
        assert torch.allclose(factors[rising:], alone, rtol=0, atol=1e-12)
        if name not in {"cosine_restarts", "one_cycle"}:
            assert bool((factors[rising - 1 :].diff() <= 0).all())


@pytest.mark.parametrize("shape", RISING)
def test_the_end_is_exact_for_every_length(shape: str) -> None:
    lengths = torch.arange(1, 2001)
    factor = schedule("linear", total_steps=lengths + 1, warmup_steps=lengths, warmup_shape=shape)
    assert (factor(lengths - 1) == 1).all()
    assert (factor(lengths - 2)[1:] < 1).all()


@pytest.mark.parametrize("length", [{"warmup": 0.5}, {"warmup_steps": 5}, {"warmup_steps": 99}, {}])
def test_none_is_no_warmup_whatever_its_length(length: dict[str, Any]) -> None:
    at = torch.arange(20)
    factors = schedule("cosine", total_steps=20, warmup_shape="none", **length)(at)
    assert torch.equal(factors, schedule("cosine", total_steps=20)(at))


@pytest.mark.parametrize("shape", RISING)
def test_steps_and_fraction_are_the_same_warmup(shape: str) -> None:
    at = torch.arange(60)
    by_fraction = schedule("cosine", total_steps=60, warmup=0.25, warmup_shape=shape)(at)
    by_steps = schedule("cosine", total_steps=60, warmup_steps=15, warmup_shape=shape)(at)
    assert torch.equal(by_fraction, by_steps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"warmup": 1.0}, r"warmup: must be in \[0, 1\), got 1.0"),
        ({"warmup": torch.tensor([0.1, -0.1], dtype=torch.float64)}, r"warmup: must be in \[0, 1\), got -0.1"),
        ({"warmup": math.nan}, r"warmup: must be in \[0, 1\), got nan"),
        ({"warmup_steps": -1}, r"warmup_steps: must be in \[0, 1e\+09\], got -1"),
        ({"warmup_steps": 2.5}, "warmup_steps: must be a whole number in .* got 2.5"),
        ({"warmup_steps": torch.tensor([2.0, 2.5])}, "warmup_steps: must be a whole number in .* got 2.5"),
        ({"warmup_steps": 10}, "warmup_steps: must be less than total_steps, got 10 of 10"),
        ({"warmup_steps": torch.tensor([3, 12])}, "warmup_steps: must be less than total_steps, got 12 of 10"),
        ({"warmup": 0.1, "warmup_steps": 2}, "warmup and warmup_steps: give .* not both"),
        (
            {"warmup": torch.tensor([0.1, 0.0]), "warmup_steps": torch.tensor([1, 2])},
            "warmup and warmup_steps: give .* not both",
        ),
        ({"warmup_shape": "square"}, "warmup_shape: must be one of none, linear, exponential, cosine, got 'square'"),
        ({"warmup_shape": ["linear", "square"]}, "warmup_shape: must be one of .* got 'square'"),
        ({"warmup": torch.ones(3) / 2, "warmup_shape": ["linear"] * 2}, r"got warmup \(3,\), warmup_shape \(2,\)"),
    ],
)
def test_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedule("cosine", total_steps=10, **arguments)
