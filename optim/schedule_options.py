"""Options of schedules, checked against the catalog and made tensors: of one model, or of a population's members.

An option is a number, a name (a choice) or a list of rising numbers (points). For a population it is a tensor with
one value for each member, of any shape that broadcasts: points stand along its last axis, rows with fewer of them
filled up with NaN at the end; a choice is a list of names, or a tensor of their places among the choices.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from . import catalog
from .records import Option, by_name

Value: TypeAlias = float | str | Sequence[float] | Sequence[str] | Tensor
Curve: TypeAlias = Callable[[Tensor], Tensor]


def resolve(info: catalog.ScheduleInfo, given: Mapping[str, Value]) -> dict[str, Tensor]:
    """Return every option of `info` as a float64 tensor, missing ones with their catalog defaults.

    Raise ValueError for an unknown option, naming the valid ones, and for a value out of range, naming the range.
    """
    known = by_name(info.options)
    faults: dict[str, str] = {}
    for name, value in given.items():
        for member in _members(known.get(name), value):
            for _, message in catalog.faults(info, {name: member}):
                faults.setdefault(name, message)
    if faults:
        raise ValueError("; ".join(f"{info.name}: {name}: {message}" for name, message in faults.items()))
    return {name: _numbers(option, given.get(name, option.default)) for name, option in known.items()}


def common(name: str, value: Value) -> Tensor:
    """Return an option that every training run has as a float64 tensor. Raise ValueError if it is out of range."""
    option = catalog.COMMON[name]
    for member in _members(option, value):
        wrong = option.check(member)
        if wrong is not None:
            raise ValueError(f"{name}: {wrong}")
    return _numbers(option, value)


def by_choice(chosen: Tensor, curves: Sequence[Curve], share: Tensor) -> Tensor:
    """Return for each member the value at `share` of the curve at the place that it chose."""
    if chosen.ndim == 0:
        return curves[int(chosen)](share)
    values = curves[0](share)
    for place, curve in enumerate(curves[1:], start=1):
        values = torch.where(chosen == place, curve(share), values)
    return values


def _members(option: Option | None, value: Value) -> Iterator[object]:
    """Give the value of each member as the catalog checks it."""
    if option is None:
        yield value
    elif not isinstance(value, Tensor):
        yield from value if option.kind == "choice" and isinstance(value, list | tuple) else (value,)
    elif option.kind == "points" and value.ndim:
        for row in value.reshape(-1, value.shape[-1]).tolist():
            yield _filled(row)
    else:
        for number in value.flatten().tolist():
            yield _plain(option, number)


def _filled(row: list[float]) -> list[float]:
    """Return the points of a row without the NaN that fills it up at its end."""
    count = len(row)
    while count and row[count - 1] != row[count - 1]:
        count -= 1
    return row[:count]


def _plain(option: Option, number: float) -> object:
    """Return an element of a tensor as what it stands for: a whole number or the name of a choice."""
    whole = option.kind in {"int", "choice"} and float(number).is_integer()
    if whole and option.kind == "choice" and 0 <= number < len(option.choices):
        return option.choices[int(number)]
    return int(number) if whole else number


def _numbers(option: Option, value: object) -> Tensor:
    if option.kind == "choice" and isinstance(value, str):
        value = option.choices.index(value)
    elif option.kind == "choice" and isinstance(value, list | tuple):
        value = [option.choices.index(name) for name in value]
    return torch.as_tensor(value, dtype=torch.float64)
