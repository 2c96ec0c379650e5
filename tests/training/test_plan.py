"""From parameters to a plan, and what it makes of the optimizer core."""

from typing import Any

import pytest
import torch

from optim import catalog
from training.plan import STRUCTURE, Plan, plan_of

COMMON = {name: option.default for name, option in catalog.COMMON.items()}


def test_parameters_go_before_the_objective_and_it_before_the_catalog() -> None:
    plan = plan_of(
        {"optimizer": "momentum", "momentum": 0.5, "lr": 0.3, "batch_size": 8, "beta1": 0.5, "epochs": 2},
        {"lr": 0.7, "warmup": 0.1},
    )
    assert plan == Plan(
        optimizer="momentum",
        options={"lr": 0.7, "momentum": 0.5, "weight_decay": 0.0},
        schedule="constant",
        schedule_options={},
        common=COMMON | {"warmup": 0.1, "batch_size": 8},
        epochs=2,
    )
    assert plan_of({}, {}).optimizer == catalog.DEFAULT_OPTIMIZER
    assert plan_of({}, {"schedule": "cosine", "decay_final": 0.5}).schedule_options == {"decay_final": 0.5}


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, 32),
        ({"batch_size": 64}, 64),
        ({"batch_size": 1000}, 100),
        ({"batch_mode": "full"}, 100),
        ({"batch_mode": "single", "batch_size": 8}, 1),
    ],
)
def test_batches(given: dict[str, Any], size: int) -> None:
    assert plan_of({}, given).batch_size(100) == size


def test_averaging_starts_at_a_step() -> None:
    plan = plan_of({}, {"swa_start": 0.75})
    assert plan.hyper(steps=200)["swa_start"].item() == 150


LINKS = [{}, {"clip_norm": 0.1}, {"clip_value": 0.01}, {"clip_layer_norm": 0.1}, {"ema": 0.9}, {"swa_start": 0.5}]


@pytest.mark.parametrize("given", LINKS, ids=str)
def test_links_are_there_where_they_are_wanted(given: dict[str, Any]) -> None:
    """With one of them training goes otherwise, or another parameter is looked at in the end."""
    torch.manual_seed(0)
    target = torch.randn(8, dtype=torch.float64)

    def trained(**options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        plan = plan_of({}, {"optimizer": "momentum", "lr": 0.1, **options})
        rule, hyper = plan.rule(), plan.hyper(20)
        params = [torch.zeros(8, dtype=torch.float64)]
        state = rule.init(params)
        for _ in range(20):
            [update], state = rule.update([params[0] - target], state, params, hyper)
            params = [params[0] + update]
        return params[0], rule.evaluated(params, state, hyper)[0]

    plain, _ = trained()
    last, seen = trained(**given)
    averaged = bool({"ema", "swa_start"} & set(given))
    assert torch.equal(seen, last) != averaged
    assert torch.equal(last, plain) == (averaged or not given)


@pytest.mark.parametrize("shape", ["linear", "exponential", "cosine"])
def test_warm_up_in_steps(shape: str) -> None:
    factors = plan_of({}, {"warmup_steps": 5, "warmup_shape": shape}).factor(20)(torch.arange(20))
    assert (factors[:4] < 1).all()
    assert (factors[4:] == 1).all()


def test_a_warm_up_as_long_as_the_training_is_refused() -> None:
    with pytest.raises(ValueError, match="warmup_steps: must be less than total_steps, got 20 of 20"):
        plan_of({}, {"warmup_steps": 20}).factor(20)


def test_intervals_warm_up_for_a_share_of_all_steps() -> None:
    given = {"optimizer": "kfac", "interval_warmup_share": 0.3, "interval_ramp_share": 0.55}
    hyper = plan_of(given, {}).hyper(20)
    assert [float(hyper[name]) for name in catalog.SHARES] == [6, 11]
    with pytest.raises(ValueError, match="interval_warmup and interval_warmup_share: give the length in steps or"):
        plan_of(given, {"interval_warmup": 4}).hyper(20)


def test_only_the_plateau_follows_the_validation_loss() -> None:
    plan = plan_of({}, {"schedule": "plateau", "decay_patience": 1, "decay_gamma": 0.5})
    state = plan.plateau()
    held = []
    for loss in (1.0, 1.0, 1.0, 1.0, 1.0):
        state = plan.after_epoch(state, loss)
        held.append(float(plan.held(state)))
    assert held == [1.0, 1.0, 0.5, 0.5, 0.25]
    other = plan_of({}, {"schedule": "cosine"})
    assert other.after_epoch(other.plateau(), 1.0) == ()
    assert other.held(()) == 1.0


def test_no_option_has_the_name_of_what_an_objective_says_beside() -> None:
    """It could not be fixed there."""
    optimizers = {option.name for info in catalog.OPTIMIZERS.values() for option in info.options}
    schedules = {option.name for info in catalog.SCHEDULES.values() for option in info.options}
    assert not STRUCTURE & (optimizers | schedules | catalog.COMMON.keys())
