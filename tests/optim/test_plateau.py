"""The plateau schedule against torch's, for one model and for members who go their own ways."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from optim import plateau
from optim.schedules import schedule
from optim.transform import stack

OPTIONS: list[dict[str, Any]] = [
    {},
    {"decay_patience": 0},
    {"decay_gamma": 0.5, "decay_patience": 2, "decay_cooldown": 3},
    {"decay_gamma": 0.7, "decay_patience": 1, "decay_threshold": 0.05},
    {"decay_gamma": 0.3, "decay_patience": 1, "decay_final": 0.01},
    {"decay_gamma": 0.9, "decay_patience": 3, "decay_threshold": 0.0, "decay_cooldown": 1, "decay_final": 0.5},
]


def losses(seed: int, count: int = 120) -> list[float]:
    """Return a loss that falls, levels off and jumps about, with a NaN."""
    noise = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    curve = 0.1 + torch.exp(-torch.arange(count) / 10) + 0.05 * noise
    curve[count // 2] = math.nan
    return curve.tolist()


def reference(options: Mapping[str, Any], metrics: list[float]) -> list[float]:
    """Return the rates of torch's scheduler after each epoch, from a base rate of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    peer = ReduceLROnPlateau(
        optimizer,
        factor=options.get("decay_gamma", 0.1),
        patience=options.get("decay_patience", 10),
        threshold=options.get("decay_threshold", 1e-4),
        cooldown=options.get("decay_cooldown", 0),
        min_lr=options.get("decay_final", 0.0),
        eps=0.0,
    )
    rates = []
    for metric in metrics:
        peer.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seed", range(4))
def test_equals_torchs(options: dict[str, Any], seed: int) -> None:
    state = plateau.init()
    rates = reference(options, losses(seed))
    assert min(rates) < 1
    for metric, rate in zip(losses(seed), rates, strict=True):
        state = plateau.update(state, metric, options)
        assert state.factor.item() == pytest.approx(rate, rel=0, abs=1e-12)


@pytest.mark.parametrize("stacked", [True, False])
def test_members_equal_separate_runs(stacked: bool) -> None:
    defaults = {
        "decay_gamma": 0.1,
        "decay_patience": 10,
        "decay_threshold": 1e-4,
        "decay_cooldown": 0,
        "decay_final": 0.0,
    }
    members = [defaults | options for options in OPTIONS]
    together = {key: torch.tensor([own[key] for own in members], dtype=torch.float64) for key in defaults}
    curves = torch.tensor([losses(seed) for seed in range(len(members))], dtype=torch.float64)
    state = stack([plateau.init() for _ in members]) if stacked else plateau.init()
    wanted = torch.tensor([reference(own, losses(seed)) for seed, own in enumerate(members)], dtype=torch.float64)
    for epoch in range(curves.shape[1]):
        state = plateau.update(state, curves[:, epoch], together)
        assert torch.allclose(state.factor, wanted[:, epoch], rtol=0, atol=1e-12)
    assert len({round(factor, 12) for factor in state.factor.tolist()}) > 1


def test_nothing_passed_in_is_changed() -> None:
    state = plateau.update(plateau.init(), 1.0, {})
    before = [part.clone() for part in state]
    plateau.update(state, 2.0, {"decay_patience": 0})
    assert all(torch.equal(part, old) for part, old in zip(state, before, strict=True))


def test_the_schedule_of_steps_is_the_warmup() -> None:
    at = torch.arange(20)
    factors = schedule("plateau", total_steps=20, warmup=0.2, decay_patience=3)(at)
    assert torch.equal(factors, schedule("constant", total_steps=20, warmup=0.2)(at))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 3}, "plateau: patience: not an option of plateau; valid: decay_gamma, decay_patience"),
        ({"decay_patience": -1}, "plateau: decay_patience: must be in"),
        ({"decay_patience": torch.tensor([1.0, 1.5])}, "decay_patience: must be a whole number in .* got 1.5"),
        ({"decay_gamma": 1.0}, r"decay_gamma: must be in \(0, 1\), got 1.0"),
        ({"decay_threshold": 1.0}, r"decay_threshold: must be in \[0, 1\), got 1.0"),
    ],
)
def test_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plateau.update(plateau.init(), 1.0, options)
