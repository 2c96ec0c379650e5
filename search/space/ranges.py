"""What a range of numbers says about itself: its ends, its step, and the values named within it."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

MOST_STEPS = 2**53


def range_complaints(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say (field, what is wrong) of a number's fields; missing ones and null are passed over."""
    low, high, step = fields.get("low"), fields.get("high"), fields.get("step")
    if fields.get("levels") is not None and fields.get("choices") is not None:
        yield "choices", "is another name for levels on a number: give one of the two"
    if low is None or high is None:
        return
    if low > high:
        yield "low", f"must not be above high, got {low:g} > {high:g}"
    elif step is not None and step > high - low:
        yield "step", f"must not exceed the range, got {step:g} > {high:g} - {low:g}"
    elif step is not None and (high - low) / step > MOST_STEPS:
        yield "step", "is too small for the range: at most 2^53 steps"
    else:
        yield from _value_complaints(fields, low, high, step)


def decimal(number: float) -> Decimal:
    """Return the number as it is written: 0.1 is a tenth."""
    return Decimal(repr(number))


def lattice_index(value: float, low: float, step: float) -> int | None:
    """Return k with low + k * step == value, within one part in 10^9 of a step or a float's precision; else None."""
    first, stride = decimal(low), decimal(step)
    steps = (decimal(value) - first) / stride
    nearest = round(steps)
    close = abs(steps - nearest) <= Decimal("1e-9") or float(first + nearest * stride) == value
    return nearest if close else None


def _value_complaints(
    fields: Mapping[str, Any], low: float, high: float, step: float | None
) -> Iterator[tuple[str, str]]:
    default = fields.get("default")
    if default is not None and not _fits(default, low, high, step):
        yield "default", f"must be a value of the range {_range(low, high, step)}, got {default:g}"
    for field in ("levels", "choices"):
        values = fields.get(field)
        if not isinstance(values, list | tuple):
            continue
        for index, value in enumerate(values):
            if not _fits(value, low, high, step):
                yield f"{field}[{index}]", f"must be a value of the range {_range(low, high, step)}, got {value:g}"
        if len(set(values)) < len(values):
            yield field, "lists a value twice; each may stand once"


def _range(low: float, high: float, step: float | None) -> str:
    return f"{low:g} to {high:g}" + (f" by {step:g}" if step is not None else "")


def _fits(value: float, low: float, high: float, step: float | None) -> bool:
    return low <= value <= high and (step is None or lattice_index(value, low, step) is not None)
