"""What does nothing is not searched."""

from typing import Any

import pytest

from optim.catalog import COMMON, TRAINERS, by_name
from search.definition.idle import IDLE
from search.definition.parse import parse_study
from search.errors import InvalidStudy

LR = {"type": "float", "low": 1e-3, "high": 1e-1, "scale": "log"}


def study(space: dict[str, Any], **fixed: Any) -> dict[str, Any]:
    network = {"kind": "mlp", "hidden": [8]}
    return {
        "name": "idle",
        "objective": {"recipe": "classifier", "data": "iris", "network": network, "epochs": 5, **fixed},
        "metrics": [{"name": "val_loss", "goal": "minimize"}],
        "space": space,
        "search": {"strategy": "random"},
        "budget": {"trials": 30},
    }


@pytest.mark.parametrize(
    ("fixed", "name", "parameter"),
    [
        ({"batch_mode": "full"}, "batch_size", {"type": "categorical", "choices": [8, 16]}),
        ({"batch_mode": "single"}, "batch_size", {"type": "categorical", "choices": [8, 16]}),
        ({"warmup_shape": "none"}, "warmup", {"type": "float", "low": 0.0, "high": 0.1}),
        ({"warmup_shape": "none"}, "warmup_steps", {"type": "int", "low": 0, "high": 4}),
    ],
)
def test_searching_what_does_nothing_is_a_fault(fixed: dict[str, Any], name: str, parameter: dict[str, Any]) -> None:
    with pytest.raises(InvalidStudy) as caught:
        parse_study(study({"lr": LR, name: parameter}, **fixed))
    [fault] = caught.value.faults
    [(option, value)] = fixed.items()
    assert fault.path == f"space.{name}"
    assert fault.message == f"does nothing with {option} {value}: drop one of the two"
    parse_study(study({"lr": LR, name: parameter}))
    parse_study(study({"lr": LR}, **fixed))


RAMPS: list[tuple[str, dict[str, Any], float]] = [
    ("interval_ramp", {"type": "int", "low": 1, "high": 9}, 5),
    ("interval_ramp_share", {"type": "float", "low": 0.1, "high": 0.9}, 0.5),
]


@pytest.mark.parametrize(("name", "searched", "value"), RAMPS)
def test_intervals_that_stay_the_same_have_nothing_to_grow_over(
    name: str, searched: dict[str, Any], value: float
) -> None:
    """Whether their shape is given or left at its default; a ramp of 0 says as much."""

    def faults(*space: str, shape: Any = None, **fixed: Any) -> dict[str, str]:
        both = {name: searched, "interval_shape": {"type": "categorical", "choices": ["constant", "linear"]}}
        shapes = {} if shape is None else {"interval_shape": shape}
        raw = study({"lr": LR} | {each: both[each] for each in space}, optimizer="kfac", **shapes, **fixed)
        try:
            parse_study(raw)
        except InvalidStudy as refused:
            return {fault.path: fault.message for fault in refused.faults}
        return {}

    says = "does nothing with interval_shape constant, its default: drop it, or set interval_shape to step or linear"
    assert faults(name) == {f"space.{name}": says}
    assert faults(**{name: value}) == {f"objective.{name}": says}
    says = "does nothing with interval_shape constant: drop one of the two"
    assert faults(name, shape="constant") == {f"space.{name}": says}
    assert faults(shape="constant", **{name: value}) == faults(**{name: 0}) == {}
    assert faults(name, "interval_shape") == faults(name, shape="linear") == faults(shape="step", **{name: value}) == {}


def test_options_of_one_name_have_one_default() -> None:
    """Whichever optimizer is chosen, what is idle by default is so for the same reason."""
    names = {name for idle in IDLE for name in idle.where}
    held = [COMMON, *(by_name(info.options) for info in TRAINERS.values())]
    defaults = {name: {options[name].default for options in held if name in options} for name in names}
    assert {name: len(found) for name, found in defaults.items()} == dict.fromkeys(names, 1)


def test_a_preset_does_not_bring_it() -> None:
    assert "warmup" in parse_study(study({"preset": "adam"})).space
    assert "warmup" not in parse_study(study({"preset": "adam"}, warmup_shape="none")).space
