"""The catalog is complete, consistent and checks values."""

import inspect
import math
import subprocess
import sys

import pytest
import torch

from optim import catalog
from optim.catalog import Option

ALL = [("common", option) for option in catalog.COMMON.values()]
ALL += [(info.name, option) for info in catalog.OPTIMIZERS.values() for option in info.options]
ALL += [(info.name, option) for info in catalog.SCHEDULES.values() for option in info.options]


@pytest.mark.parametrize(("owner", "option"), ALL, ids=[f"{owner}.{option.name}" for owner, option in ALL])
def test_every_option_is_sound(owner: str, option: Option) -> None:
    assert owner
    assert option.title
    assert option.kind in {"float", "int", "bool", "choice", "points"}
    assert option.scale in {"linear", "log", "reverse_log"}
    assert option.check(option.default) is None
    assert math.isfinite(option.low)
    assert math.isfinite(option.high)
    assert (option.search_low is None) == (option.search_high is None)
    if option.search_low is not None and option.search_high is not None:
        assert option.search_low < option.search_high
        assert option.check(option.search_low) is None
        assert option.check(option.search_high) is None
        assert option.scale != "log" or option.search_low > 0
        assert option.scale != "reverse_log" or option.search_high < 1


def test_names_are_unique_and_keys_are_names() -> None:
    for table in (catalog.OPTIMIZERS, catalog.SCHEDULES):
        for name, info in table.items():
            assert name == info.name
            assert info.title
            assert info.source
            assert len({option.name for option in info.options}) == len(info.options)
    own = {option.name for info in catalog.OPTIMIZERS.values() for option in info.options}
    assert not own & {option.name for info in catalog.SCHEDULES.values() for option in info.options}
    assert not own & set(catalog.COMMON)


def test_every_optimizer_takes_a_rate_and_weight_decay() -> None:
    for info in catalog.OPTIMIZERS.values():
        assert {"lr", "weight_decay"} <= {option.name for option in info.options}
        assert info.when_to_use
    assert catalog.DEFAULT_OPTIMIZER in catalog.OPTIMIZERS
    assert catalog.DEFAULT_SCHEDULE in catalog.SCHEDULES


PEERS = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "nesterov": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "nadamw": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "adamax": torch.optim.Adamax,
    "adafactor": torch.optim.Adafactor,
}

# What torch has not: momentum that is on, and Adam's means uncorrected.
OWN = {("momentum", "momentum"): 0.9, ("nesterov", "momentum"): 0.9, ("adam", "bias_correction"): True}


@pytest.mark.parametrize("name", sorted(PEERS))
def test_defaults_are_torchs(name: str) -> None:
    theirs = {key: value.default for key, value in inspect.signature(PEERS[name]).parameters.items()}
    if "betas" in theirs:
        theirs["beta1"], theirs["beta2"] = theirs["betas"]
    if name == "adafactor":
        theirs["eps1"], theirs["eps2"] = theirs["eps"][0] or 0, theirs["eps"][1]
    for option in catalog.OPTIMIZERS[name].options:
        wanted = OWN[name, option.name] if (name, option.name) in OWN else theirs[option.name]
        assert option.default == wanted, option.name


def test_the_moving_average_form_of_momentum_begins_at_the_rate_of_the_other() -> None:
    ours, other = (
        {option.name: option.default for option in catalog.OPTIMIZERS[name].options}
        for name in ("momentum_ema", "momentum")
    )
    assert isinstance(ours["lr"], float)
    assert isinstance(ours["momentum"], float)
    assert ours["lr"] * (1 - ours["momentum"]) == pytest.approx(other["lr"])


UNIT = Option("x", "float", 0.5, 0.0, 1.0, high_open=True)
COUNT = Option("n", "int", 1, 1, 10)
FLAG = Option("f", "bool", False, 0, 1)


@pytest.mark.parametrize(
    ("option", "value", "wrong"),
    [
        (UNIT, 0, None),
        (UNIT, 0.999, None),
        (UNIT, 1.0, "must be in [0, 1), got 1.0"),
        (UNIT, -0.1, "must be in [0, 1), got -0.1"),
        (UNIT, 1.5, "must be in [0, 1), got 1.5"),
        (UNIT, math.nan, "must be in [0, 1), got nan"),
        (UNIT, math.inf, "must be in [0, 1), got inf"),
        (UNIT, 10**400, f"must be in [0, 1), got {10**400}"),
        (UNIT, "0.5", "must be a number in [0, 1), got '0.5'"),
        (UNIT, True, "must be a number in [0, 1), got True"),
        (UNIT, None, "must be a number in [0, 1), got None"),
        (COUNT, 10, None),
        (COUNT, 0, "must be in [1, 10], got 0"),
        (COUNT, 2.0, "must be a whole number in [1, 10], got 2.0"),
        (COUNT, True, "must be a whole number in [1, 10], got True"),
        (FLAG, True, None),
        (FLAG, 1, "must be true or false, got 1"),
    ],
)
def test_check(option: Option, value: object, wrong: str | None) -> None:
    assert option.check(value) == wrong


def test_infinity_is_refused_even_without_a_bound_below_it() -> None:
    assert Option("x", "float", 0.0, -math.inf, math.inf).check(math.inf) is not None


def test_lookups_name_what_is_valid() -> None:
    assert catalog.optimizer_info("adam").name == "adam"
    assert catalog.schedule_info("step").name == "step"
    with pytest.raises(ValueError, match="unknown optimizer 'Adam'; valid: sgd, momentum, momentum_ema, nesterov"):
        catalog.optimizer_info("Adam")
    with pytest.raises(ValueError, match="unknown schedule 'sine'; valid: constant, step"):
        catalog.schedule_info("sine")


def test_loads_no_torch() -> None:
    program = "import sys, optim.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
