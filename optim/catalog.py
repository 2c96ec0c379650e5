"""Every optimizer, schedule and warm-up by name: their options, valid ranges, recommended search ranges and sources.

Pure data without torch. `build` and `schedules` take defaults and checks from here, the API lists it, a study's
definition is checked against it, and the tests walk it, so a name that stands here exists everywhere.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .entries import adam, classic, common, modern, schedules, sparse
from .entries.precondition import gram, hessian, kfac, learned, natural
from .entries.precondition.options import SHARES
from .records import OptimizerInfo, Option, ScheduleInfo, WarmupInfo, by_name

__all__ = [
    "COMMON",
    "DEFAULT_OPTIMIZER",
    "DEFAULT_SCHEDULE",
    "OPTIMIZERS",
    "SCHEDULES",
    "SHARES",
    "TRAINERS",
    "WARMUPS",
    "OptimizerInfo",
    "Option",
    "ScheduleInfo",
    "WarmupInfo",
    "by_name",
    "complete",
    "faults",
    "optimizer_info",
    "schedule_info",
    "trainer_info",
    "warmup_info",
]

OPTIMIZERS: Mapping[str, OptimizerInfo] = MappingProxyType({
    info.name: info
    for entries in (classic, adam, modern, kfac, gram, natural, learned, hessian)
    for info in entries.OPTIMIZERS
})  # fmt: skip
# What a recipe may train by: every optimizer, and what steps networks of one kind in a way of its own.
TRAINERS: Mapping[str, OptimizerInfo] = MappingProxyType(
    {**OPTIMIZERS, **{info.name: info for info in sparse.TRAINERS}}
)
SCHEDULES: Mapping[str, ScheduleInfo] = MappingProxyType({info.name: info for info in schedules.SCHEDULES})
WARMUPS: Mapping[str, WarmupInfo] = MappingProxyType({info.name: info for info in schedules.WARMUPS})
COMMON: Mapping[str, Option] = MappingProxyType({option.name: option for option in common.OPTIONS})
DEFAULT_OPTIMIZER = "adam"
DEFAULT_SCHEDULE = "constant"


def optimizer_info(name: str) -> OptimizerInfo:
    """Return the optimizer called `name`. Raise ValueError listing the valid names if there is none."""
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; valid: {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name]


def trainer_info(name: str) -> OptimizerInfo:
    """Return the optimizer, or other trainer, called `name`. Raise ValueError listing the valid names if there is none."""
    if name not in TRAINERS:
        raise ValueError(f"unknown optimizer {name!r}; valid: {', '.join(TRAINERS)}")
    return TRAINERS[name]


def schedule_info(name: str) -> ScheduleInfo:
    """Return the schedule called `name`. Raise ValueError listing the valid names if there is none."""
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; valid: {', '.join(SCHEDULES)}")
    return SCHEDULES[name]


def warmup_info(name: str) -> WarmupInfo:
    """Return the warm-up called `name`. Raise ValueError listing the valid names if there is none."""
    if name not in WARMUPS:
        raise ValueError(f"unknown warm-up {name!r}; valid: {', '.join(WARMUPS)}")
    return WARMUPS[name]


def faults(info: OptimizerInfo | ScheduleInfo, values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return (option name, what is wrong) for each of `values` that `info` does not accept."""
    known = by_name(info.options)
    found = []
    for name, value in values.items():
        message = known[name].check(value) if name in known else f"not an option of {info.name}; valid: {_names(known)}"
        if message is not None:
            found.append((name, message))
    return found


def complete(info: OptimizerInfo | ScheduleInfo, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option of `info` with its value or its default.

    Raise ValueError naming each option that is unknown (and the valid ones) or out of range (and the range).
    """
    found = faults(info, values)
    if found:
        raise ValueError("; ".join(f"{info.name}: {name}: {message}" for name, message in found))
    return {option.name: values.get(option.name, option.default) for option in info.options}


def _names(known: Mapping[str, Option]) -> str:
    return ", ".join(known) or "none"
