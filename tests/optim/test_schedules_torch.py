"""Schedules against those of torch.optim.lr_scheduler."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from optim.schedules import schedule

TOTAL = 210


def steps(count: int) -> torch.Tensor:
    return torch.arange(count)


# name, options, the schedule of torch that they describe, on an optimizer of base rate 1
PEERS: list[tuple[str, dict[str, Any], Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]]] = [
    ("step", {"decay_every": 0.1, "decay_gamma": 0.7}, lambda to: lr_scheduler.StepLR(to, 21, 0.7)),
    (
        "multistep",
        {"decay_milestones": (0.2, 0.4), "decay_gamma": 0.3},
        lambda to: lr_scheduler.MultiStepLR(to, [42, 84], 0.3),
    ),
    ("exponential", {"decay_final": 0.01}, lambda to: lr_scheduler.ExponentialLR(to, 0.01 ** (1 / TOTAL))),
    ("linear", {"decay_final": 0.1}, lambda to: lr_scheduler.LinearLR(to, 1.0, 0.1, TOTAL)),
    ("polynomial", {"decay_power": 3.0}, lambda to: lr_scheduler.PolynomialLR(to, TOTAL, 3.0)),
    ("cosine", {"decay_final": 0.1}, lambda to: lr_scheduler.CosineAnnealingLR(to, TOTAL, 0.1)),
    ("cosine_restarts", {}, lambda to: lr_scheduler.CosineAnnealingWarmRestarts(to, 70)),
    (
        "cosine_restarts",
        {"decay_cycles": 3, "decay_growth": 2.0, "decay_final": 0.1},
        lambda to: lr_scheduler.CosineAnnealingWarmRestarts(to, 30, 2, 0.1),
    ),
    ("one_cycle", {}, lambda to: lr_scheduler.OneCycleLR(to, 1.0, TOTAL, cycle_momentum=False)),
    (
        "one_cycle",
        {"decay_rise": 0.37, "decay_start": 1 / 20, "decay_final": 1 / 20 / 50},
        lambda to: lr_scheduler.OneCycleLR(
            to, 1.0, TOTAL, pct_start=0.37, div_factor=20, final_div_factor=50, cycle_momentum=False
        ),
    ),
]


@pytest.mark.parametrize(("name", "options", "make"), PEERS)
def test_equals_torchs(
    name: str, options: dict[str, Any], make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]
) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    peer = make(optimizer)
    for factor in schedule(name, total_steps=TOTAL, **options)(steps(TOTAL)).tolist():
        assert factor == pytest.approx(optimizer.param_groups[0]["lr"], rel=0, abs=1e-12)
        optimizer.step()
        peer.step()


def test_one_cycle_is_torchs_however_short() -> None:
    for total in (2, 3, 4, 5, 11):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        peer = lr_scheduler.OneCycleLR(optimizer, 1.0, total, pct_start=0.3, cycle_momentum=False)
        for factor in schedule("one_cycle", total_steps=total)(steps(total)).tolist():
            assert factor == pytest.approx(optimizer.param_groups[0]["lr"], rel=0, abs=1e-12)
            optimizer.step()
            if peer.last_epoch < total - 1:
                peer.step()
