"""How long a study warms up is said once, and is shorter than its training."""

from typing import Any

import pytest

from search.definition.parse import parse_study
from search.errors import InvalidStudy

# 1,437 examples of digits are trained on: an epoch is 45 steps in batches of 32, 1 in one batch, 1,437 one by one.
EPOCHS = 4


def study(space: dict[str, Any] | None = None, **objective: Any) -> dict[str, Any]:
    return {
        "name": "warm",
        "objective": {
            "recipe": "classifier",
            "data": "digits",
            "network": {"kind": "mlp", "hidden": [8]},
            "epochs": EPOCHS,
            **objective,
        },
        "metrics": [{"name": "val_loss", "goal": "minimize"}],
        "space": {"lr": {"type": "float", "low": 0.01, "high": 0.1}, **(space or {})},
        "search": {"strategy": "random", "seed": 1},
        "budget": {"trials": 5},
    }


def whole(low: int, high: int, **more: Any) -> dict[str, Any]:
    return {"type": "int", "low": low, "high": high, **more}


def choice(*choices: Any, **more: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices), **more}


def faults(raw: dict[str, Any]) -> dict[str, str]:
    try:
        parse_study(raw)
    except InvalidStudy as refused:
        return {fault.path: fault.message for fault in refused.faults}
    return {}


# The study, the fewest steps that one of its configurations trains, and the batch that does so.
LENGTHS = [
    ({}, {}, 45 * EPOCHS, 32),
    ({}, {"batch_size": 64}, 23 * EPOCHS, 64),
    ({}, {"batch_size": 4096}, EPOCHS, 1437),
    ({}, {"batch_mode": "full", "batch_size": 64}, EPOCHS, 1437),
    ({}, {"batch_mode": "single", "batch_size": 64}, 1437 * EPOCHS, 1),
    ({"batch_size": choice(16, 64, 32)}, {}, 23 * EPOCHS, 64),
    ({"batch_size": whole(1, 100)}, {}, 15 * EPOCHS, 100),
    ({"batch_mode": choice("single", "mini")}, {}, 45 * EPOCHS, 32),
    ({"batch_mode": choice("single", "full")}, {}, EPOCHS, 1437),
    ({"batch_size": choice(8, 16, when={"batch_mode": ["mini"]}), "batch_mode": choice("mini", "single")}, {}, 45 * EPOCHS, 32),
]  # fmt: skip


@pytest.mark.parametrize(("space", "objective", "steps", "batch"), LENGTHS)
def test_a_warm_up_is_shorter_than_the_training(
    space: dict[str, Any], objective: dict[str, Any], steps: int, batch: int
) -> None:
    says = f"must be below the {steps} steps of {EPOCHS} epochs with batches of {batch}, got {steps}"
    assert faults(study(space, **objective, warmup_steps=steps - 1)) == {}
    assert faults(study(space, **objective, warmup_steps=steps)) == {"objective.warmup_steps": says}
    assert faults(study(space | {"warmup_steps": whole(0, steps - 1)}, **objective)) == {}
    assert faults(study(space | {"warmup_steps": whole(0, steps)}, **objective)) == {"space.warmup_steps.high": says}
    choices = {"warmup_steps": choice(0, steps, steps - 1)}
    assert faults(study(space | choices, **objective)) == {"space.warmup_steps.choices[1]": says}


@pytest.mark.parametrize(
    ("raw", "paths"),
    [
        (study(warmup_steps=10**6, epochs=0), {"objective.epochs"}),
        (study(warmup_steps=10**6, data="of_my_own"), set()),
        (study(warmup_steps=10**6, batch_size=0), {"objective.batch_size"}),
        (study(warmup_steps=10**6, batch_mode="x"), {"objective.batch_mode", "objective.warmup_steps"}),
        (study({"batch_size": choice(16, 16)}, warmup_steps=10**6), {"space.batch_size.choices[1]"}),
        (study({"batch_size": choice(16, "x")}, warmup_steps=10**6), {"space.batch_size.choices[1]"}),
        (study({"warmup_steps": whole(10**6, 0)}), {"space.warmup_steps.low"}),
    ],
)
def test_what_cannot_be_told_is_not_compared(raw: dict[str, Any], paths: set[str]) -> None:
    assert set(faults(raw)) == paths


@pytest.mark.parametrize(
    ("space", "objective", "path"),
    [
        ({}, {"warmup": 0.1, "warmup_steps": 10}, "objective.warmup_steps"),
        ({"warmup_steps": whole(1, 10)}, {"warmup": 0.1}, "space.warmup_steps"),
        ({"warmup": {"type": "float", "low": 0.0, "high": 0.1}}, {"warmup_steps": 10}, "objective.warmup_steps"),
        ({"warmup": choice(0.1), "warmup_steps": choice(1)}, {}, "space.warmup_steps"),
    ],
)
def test_the_length_is_said_once(space: dict[str, Any], objective: dict[str, Any], path: str) -> None:
    says = "says how long the warm-up is, and so does warmup: drop one of the two"
    assert faults(study(space, **objective)) == {path: says}


@pytest.mark.parametrize("steps", ["interval_warmup", "interval_ramp"])
def test_so_is_that_of_intervals(steps: str) -> None:
    says = f"says how many steps it takes, and so does {steps}_share: drop one of the two"
    share: dict[str, Any] = {f"{steps}_share": 0.1, "interval_shape": "step"}
    assert faults(study(optimizer="kfac", **share, **dict[str, Any]({steps: 10}))) == {f"objective.{steps}": says}
    searched = {"optimizer": choice("kfac", "ekfac"), steps: whole(1, 10)}
    assert faults(study(searched, **share)) == {f"space.{steps}": says}
    assert faults(study(optimizer="kfac", **share)) == {}


@pytest.mark.parametrize(("steps", "more"), [("interval_warmup", {}), ("interval_ramp", {"interval_shape": "step"})])
def test_a_length_of_0_says_nothing(steps: str, more: dict[str, Any]) -> None:
    share, kfac = f"{steps}_share", {"optimizer": "kfac", **more}
    rates = {"type": "float", "low": 0.0, "high": 0.5}
    for nothing, other, value, searched in ((steps, share, 0.1, rates), (share, steps, 10, whole(1, 10))):
        zero: dict[str, Any] = {nothing: 0}
        assert faults(study(**kfac, **zero, **dict[str, Any]({other: value}))) == {}
        assert faults(study({other: searched}, **kfac, **zero)) == {}
        assert faults(study({other: searched, nothing: {"type": "fixed", "value": 0}}, **kfac)) == {}
        assert faults(study({other: searched, nothing: choice(0)}, **kfac)).keys() == {f"space.{steps}"}
        assert faults(study({other: searched, nothing: {"type": "fixed"}}, **kfac)).keys() >= {f"space.{steps}"}


def test_nor_does_a_warm_up_of_0() -> None:
    assert faults(study(warmup=0.0, warmup_steps=10)) == {}
    assert faults(study({"warmup": {"type": "float", "low": 0.0, "high": 0.1}}, warmup_steps=0)) == {}


def test_the_other_length_may_be_the_one_that_is_unreadable() -> None:
    found = faults(study({"warmup": {"type": "float", "low": 1, "high": 0}}, warmup_steps=10))
    assert set(found) == {"space.warmup.low", "objective.warmup_steps"}
