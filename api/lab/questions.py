"""What may be asked of the lab: requests checked against the catalog and the surfaces, as questions for its process.

Every fault is named at once, by the query parameter and what to do about it. What the routes under /v1/lab bound in
OpenAPI is bounded here again: the page at /lab reads its form itself, and no other check stands between it and the lab.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from optim.catalog import OptimizerInfo, faults
from optim.lab.optimizers import OPTIMIZERS, refusal
from optim.lab.surfaces import MOST_STEPS, STEPS, SURFACES
from search.errors import Fault, InvalidValue

Question: TypeAlias = dict[str, object]
Setting: TypeAlias = float | str

DEFAULT_SURFACE = "beale"
DEFAULT_OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam")
MOST_OPTIMIZERS = 8
MOST_OPTIONS = 64
DEFAULT_BETAS = (0.5, 0.9, 0.98)
MOST_BETAS = 7
HIGHEST_BETA = 0.999
JSON = "json"
# What is quoted of a request in a message.
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Chosen:
    """What to run: names and numbers as they were sent. `lr` None means the best rate of the grid."""

    surface: str = DEFAULT_SURFACE
    optimizers: Sequence[str] = DEFAULT_OPTIMIZERS
    lr: float | None = None
    steps: int = STEPS
    options: Sequence[str] = ()


def surface_question(chosen: Chosen, *, file_format: str = JSON, figure: str = "contours") -> Question:
    """Return the question. Raise InvalidValue with every fault of `chosen`."""
    names = list(dict.fromkeys(chosen.optimizers))
    wrong = [*_surface_faults(chosen.surface), *_name_faults(names), *_steps_faults(chosen.steps)]
    settings, strange = _settings(names, chosen.options)
    wrong += strange
    for name in names:
        if chosen.lr is not None:
            settings[name].setdefault("lr", chosen.lr)
        if name in OPTIMIZERS:
            wrong += _setting_faults(OPTIMIZERS[name], settings[name], lr_is_common=chosen.lr is not None)
    if wrong:
        raise InvalidValue(dict.fromkeys(wrong))
    return {
        "ask": "surface",
        "surface": chosen.surface,
        "optimizers": [[name, settings[name]] for name in names],
        "steps": chosen.steps,
        "format": file_format,
        "figure": figure,
    }


def average_question(betas: Sequence[float], *, correction: bool, file_format: str = JSON) -> Question:
    """Return the question. Raise InvalidValue with every fault of `betas`."""
    distinct = list(dict.fromkeys(betas))
    wrong = [
        Fault("query.beta", f"must be in [0, {HIGHEST_BETA}], got {beta!r}")
        for beta in distinct
        if not 0.0 <= beta <= HIGHEST_BETA
    ]
    if not 1 <= len(distinct) <= MOST_BETAS:
        wrong.append(Fault("query.beta", f"give 1 to {MOST_BETAS} different values, got {len(distinct)}"))
    if wrong:
        raise InvalidValue(wrong)
    return {"ask": "moving-average", "betas": distinct, "correction": correction, "format": file_format}


def _surface_faults(name: str) -> list[Fault]:
    if name in SURFACES:
        return []
    return [Fault("query.surface", f"unknown surface {name[:_SHOWN]!r}; valid: {', '.join(SURFACES)}")]


def _name_faults(names: Sequence[str]) -> list[Fault]:
    found = [Fault("query.optimizer", refusal(name[:_SHOWN])) for name in names if name not in OPTIMIZERS]
    if not 1 <= len(names) <= MOST_OPTIMIZERS:
        found.append(Fault("query.optimizer", f"choose 1 to {MOST_OPTIMIZERS} different ones, got {len(names)}"))
    return found


def _steps_faults(steps: int) -> list[Fault]:
    if 1 <= steps <= MOST_STEPS:
        return []
    return [Fault("query.steps", f"must be a whole number in [1, {MOST_STEPS}], got {str(steps)[:_SHOWN]}")]


def _settings(names: Sequence[str], texts: Sequence[str]) -> tuple[dict[str, dict[str, Setting]], list[Fault]]:
    """Read each `optimizer.option:value`; values are checked later."""
    settings: dict[str, dict[str, Setting]] = {name: {} for name in names}
    wrong = []
    if len(texts) > MOST_OPTIONS:
        wrong.append(Fault("query.option", f"give at most {MOST_OPTIONS}, got {len(texts)}"))
    for text in texts[:MOST_OPTIONS]:
        place, colon, value = text.partition(":")
        name, dot, option = place.partition(".")
        if not (colon and dot):
            wrong.append(Fault("query.option", f"write it as optimizer.option:value, got {text[:_SHOWN]!r}"))
        elif name not in settings:
            chosen = ", ".join(known[:_SHOWN] for known in names[:MOST_OPTIMIZERS])
            wrong.append(Fault("query.option", f"{name[:_SHOWN]!r} is not among the chosen: {chosen}"))
        else:
            settings[name][option] = _value(value)
    return settings, wrong


def _value(text: str) -> Setting:
    """Read true, false, a whole number or a number; what is none stays text, for the catalog to refuse."""
    if text in {"true", "false"}:
        return text == "true"
    # No range has whole numbers too long to quote; read as floats they are refused in a few characters.
    kinds: Sequence[type[int | float]] = (int, float) if len(text) <= _SHOWN else (float,)
    for kind in kinds:
        with contextlib.suppress(ValueError):
            number = kind(text)
            if isinstance(number, int) or math.isfinite(number):
                return number
    return text[:_SHOWN]


def _setting_faults(info: OptimizerInfo, given: dict[str, Setting], *, lr_is_common: bool) -> list[Fault]:
    return [
        Fault("query.lr", message)
        if option == "lr" and lr_is_common
        else Fault("query.option", f"{info.name}.{option[:_SHOWN]}: {message}")
        for option, message in faults(info, given)
    ]
