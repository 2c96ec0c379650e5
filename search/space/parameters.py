"""The parameters of a space: float, int and categorical, as frozen values that check themselves.

A float lies on a linear, log or reverse_log scale (reverse_log: 1 - x on a log scale, for momentum near 1) or, with `step`,
on the lattice low + k * step, reckoned in decimal and rounded once, so that 0 + 3 * 0.1 is 0.3. `high` need not be on the
lattice; the last point is the last one not above it. `low == high` is allowed: it fixes a value under a condition.
`levels` (a count, or the values) gives a grid its points; on a float or int `choices` is the same list. Random and
model-based strategies use the whole range.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from search.space.sampling import Draws

Value: TypeAlias = str | int | float | bool | None
Setting: TypeAlias = Value | tuple[float, ...]  # what an objective can fix
Point: TypeAlias = dict[str, Value]
Complaint: TypeAlias = tuple[str, str]  # field, what is wrong with it

WIDEST = 1e100  # bounds beyond this overflow in the arithmetic of any model
MOST_LEVELS = 1000
MOST_STEPS = 2**53


def identity(value: Value) -> tuple[str, Value]:
    """Key by which two values of JSON are the same: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, bool):
        return "bool", value
    return ("number" if isinstance(value, int | float) else "other"), value


def is_number(value: object) -> bool:
    """Say whether the value is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _scalar(value: object) -> Value:
    if value is None or isinstance(value, str | bool) or is_number(value):
        return value  # type: ignore[return-value]
    raise PydanticCustomError("scalar", "must be a string, a finite number, true, false or null")


def _setting(value: object) -> Setting:
    if not isinstance(value, list | tuple):
        return _scalar(value)
    if 1 <= len(value) <= MOST_LEVELS and all(map(is_number, value)):
        return tuple(value)
    raise PydanticCustomError("setting", "must be a list of 1 to 1000 finite numbers, or one value")


def _levels(value: object) -> int | tuple[float, ...]:
    if is_whole(value) and 1 <= value <= MOST_LEVELS:  # type: ignore[operator]
        return value  # type: ignore[return-value]
    if isinstance(value, list | tuple) and 1 <= len(value) <= MOST_LEVELS and all(map(is_number, value)):
        return tuple(value)
    raise PydanticCustomError(
        "levels", "must be a number of points from 1 to 1000, or a list of 1 to 1000 values within the range"
    )


def _plain(value: Setting) -> Value | list[float]:
    return list(value) if isinstance(value, tuple) else value


def absent(value: object) -> bool:
    """Leave a field out of the stored definition when it was not given."""
    return value is None


Scalar: TypeAlias = Annotated[
    Value, PlainValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean", "null"]})
]
Fixed: TypeAlias = Annotated[
    Setting,
    PlainValidator(_setting),
    PlainSerializer(_plain, return_type=Any, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["string", "number", "boolean", "null"]},
                {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": MOST_LEVELS},
            ]
        }
    ),
]
Levels: TypeAlias = Annotated[
    int | tuple[float, ...],
    PlainValidator(_levels),
    PlainSerializer(_plain, return_type=Any, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST_LEVELS},
                {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": MOST_LEVELS},
            ]
        }
    ),
]
T = TypeVar("T")
# JSON has lists; strictness is for what they hold.
Listed: TypeAlias = Annotated[tuple[T, ...], Field(strict=False, min_length=1, max_length=MOST_LEVELS)]


class Faulty(ValueError):
    """A value that contradicts itself; `complaints` lists all that is wrong, by field."""

    def __init__(self, complaints: list[Complaint]) -> None:
        self.complaints = complaints
        super().__init__("; ".join(f"{field}: {message}" for field, message in complaints))


class Part(BaseModel):
    """A frozen piece of a definition: no unknown fields, no coercion, no NaN, no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        """Say what contradicts what among the fields given; missing ones and null are passed over."""
        del fields
        return iter(())

    @model_validator(mode="after")
    def _check(self) -> "Part":
        if complaints := list(self.complaints(dict(self))):
            raise Faulty(complaints)
        return self


class _Parameter(Part):
    when: dict[str, Listed[Scalar]] | None = Field(
        None,
        min_length=1,
        exclude_if=absent,
        description="Only where each named parent (categorical or int) has one of the values listed",
        examples=[{"optimizer": ["momentum", "nesterov"]}],
    )

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        for parent, values in (fields.get("when") or {}).items():
            if len(set(map(identity, values))) < len(values):
                yield f"when.{parent}", "lists a value twice"


_DEFAULT = "Kept with the study; no strategy starts from it yet"


class FloatParameter(_Parameter):
    """A number between `low` and `high`, both included."""

    type: Literal["float"] = Field(description="float, int or categorical")
    low: float = Field(ge=-WIDEST, le=WIDEST)
    high: float = Field(ge=-WIDEST, le=WIDEST)
    step: float | None = Field(None, gt=0, exclude_if=absent, description="Only low + k * step; linear scale only")
    scale: Literal["linear", "log", "reverse_log"] = Field(
        "linear", description="reverse_log: 1 - x on a log scale, for values that crowd below 1"
    )
    levels: Levels | None = Field(None, exclude_if=absent, description="The points a grid takes: a count or the values")
    choices: Listed[float] | None = Field(None, exclude_if=absent, description="Another name for a list of `levels`")
    default: float | None = Field(None, exclude_if=absent, description=_DEFAULT)

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        yield from super().complaints(fields)
        yield from _range_complaints(fields)
        low, high, scale = fields.get("low"), fields.get("high"), fields.get("scale")
        if fields.get("step") is not None and scale in {"log", "reverse_log"}:
            yield "step", f"goes with scale linear only, not {scale}: drop one of the two"
        if scale == "log" and low is not None and low <= 0:
            yield "low", f"must be above 0 on a log scale, got {low:g}"
        if scale == "reverse_log" and high is not None and high >= 1:
            yield "high", f"must be below 1 on a reverse_log scale, got {high:g}"


class IntParameter(_Parameter):
    """A whole number between `low` and `high`, both included."""

    type: Literal["int"] = Field(description="float, int or categorical")
    low: int = Field(ge=-(2**53), le=2**53)
    high: int = Field(ge=-(2**53), le=2**53)
    step: int | None = Field(None, gt=0, le=2**53, exclude_if=absent, description="Only low + k * step; absent = 1")
    scale: Literal["linear", "log"] = "linear"
    levels: Levels | None = Field(None, exclude_if=absent, description="The points a grid takes: a count or the values")
    choices: Listed[int] | None = Field(None, exclude_if=absent, description="Another name for a list of `levels`")
    default: int | None = Field(None, exclude_if=absent, description=_DEFAULT)

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        yield from super().complaints(fields)
        yield from _range_complaints(fields)
        low, scale = fields.get("low"), fields.get("scale")
        if (fields.get("step") or 1) > 1 and scale == "log":
            yield "step", "goes with scale linear only, not log: drop one of the two"
        if scale == "log" and low is not None and low <= 0:
            yield "low", f"must be at least 1 on a log scale, got {low}"
        levels = fields.get("levels")
        if isinstance(levels, list | tuple) and not all(map(is_whole, levels)):
            yield "levels", "must be whole numbers, as the parameter is an int"


class CategoricalParameter(_Parameter):
    """One of a list of values without order."""

    type: Literal["categorical"] = Field(description="float, int or categorical")
    choices: Listed[Scalar]
    default: Scalar = Field(None, exclude_if=absent, description=_DEFAULT)

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        yield from super().complaints(fields)
        choices, default = fields.get("choices"), fields.get("default")
        if choices is None:
            return
        seen: set[tuple[str, Value]] = set()
        for index, choice in enumerate(choices):
            if identity(choice) in seen:
                yield f"choices[{index}]", f"{choice!r} is listed already; each choice may stand once"
            seen.add(identity(choice))
        if default is not None and identity(default) not in seen:
            yield "default", f"{default!r} is not among the choices"


Parameter: TypeAlias = FloatParameter | IntParameter | CategoricalParameter
PARAMETERS: Mapping[str, type[FloatParameter | IntParameter | CategoricalParameter]] = {
    "float": FloatParameter,
    "int": IntParameter,
    "categorical": CategoricalParameter,
}


def _range_complaints(fields: Mapping[str, Any]) -> Iterator[Complaint]:
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


def _value_complaints(fields: Mapping[str, Any], low: float, high: float, step: float | None) -> Iterator[Complaint]:
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
    if not low <= value <= high:
        return False
    return step is None or _lattice_index(value, low, step) is not None


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))


def _lattice_index(value: float, low: float, step: float) -> int | None:
    """Return k with low + k * step == value, within one part in 10^9 of a step or a float's precision; else None."""
    first, stride = _decimal(low), _decimal(step)
    steps = (_decimal(value) - first) / stride
    nearest = round(steps)
    close = abs(steps - nearest) <= Decimal("1e-9") or float(first + nearest * stride) == value
    return nearest if close else None


@dataclass(frozen=True, slots=True)
class Axis:
    """The points of a parameter in order: how many, the k-th (k < size), and the place of a value or None."""

    size: int
    at: Callable[[int], Value]
    place: Callable[[Value], int | None]


def lattice(parameter: Parameter) -> Axis | None:
    """Return every value a parameter can take, or None if it is continuous."""
    if isinstance(parameter, CategoricalParameter):
        return listed(parameter.choices)
    if parameter.low == parameter.high:
        return listed((parameter.low,))
    if isinstance(parameter, IntParameter):
        values = range(parameter.low, parameter.high + 1, parameter.step or 1)
        return Axis(
            size=len(values),
            at=values.__getitem__,
            place=lambda value: values.index(value) if is_whole(value) and value in values else None,  # type: ignore[arg-type]
        )
    return None if parameter.step is None else _stepped(parameter.low, parameter.high, parameter.step)


def _stepped(low: float, high: float, step: float) -> Axis:
    first, stride = _decimal(low), _decimal(step)
    size = int((_decimal(high) - first) / stride) + 1

    def place(value: Value) -> int | None:
        index = _lattice_index(value, low, step) if is_number(value) else None  # type: ignore[arg-type]
        return index if index is not None and 0 <= index < size else None

    return Axis(size=size, at=lambda index: float(first + index * stride), place=place)


def listed(values: tuple[Value, ...]) -> Axis:
    """Return the axis of a list of distinct values."""
    places = {identity(value): index for index, value in enumerate(values)}
    return Axis(size=len(values), at=values.__getitem__, place=lambda value: places.get(identity(value)))


def grid_axis(parameter: Parameter) -> Axis | None:
    """Return the points a grid takes from a parameter: its levels if it has any, else its lattice, else None."""
    if isinstance(parameter, CategoricalParameter):
        return lattice(parameter)
    levels = parameter.choices if parameter.levels is None else parameter.levels
    if levels is None:
        return lattice(parameter)
    if not isinstance(levels, int):
        return listed(tuple(map(_number_of(parameter), levels)))
    return listed(_spread(parameter, levels))


def _number_of(parameter: FloatParameter | IntParameter) -> Callable[[float], float]:
    return int if isinstance(parameter, IntParameter) else float


def _spread(parameter: FloatParameter | IntParameter, count: int) -> tuple[Value, ...]:
    """Spread `count` points evenly over the scale, both ends included; on a lattice fewer if it has fewer."""
    if count == 1 and parameter.default is not None:
        return (parameter.default,)
    shares = [0.5] if count == 1 else [index / (count - 1) for index in range(count)]
    axis, number = lattice(parameter), _number_of(parameter)
    if axis is None:
        return tuple(dict.fromkeys(number(warp_back(parameter, share)) for share in shares))
    if parameter.scale == "linear":
        return tuple(dict.fromkeys(axis.at(round(share * (axis.size - 1))) for share in shares))
    return tuple(dict.fromkeys(round(warp_back(parameter, share)) for share in shares))


# scale -> (onto the scale, back); both rise with the value
_WARPS: Mapping[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "linear": (lambda x: x, lambda t: t),
    "log": (math.log, math.exp),
    "reverse_log": (lambda x: -math.log1p(-x), lambda t: -math.expm1(-t)),
}


def warp_back(parameter: FloatParameter | IntParameter, share: float) -> float:
    """Return the value that lies at `share` (0 to 1) of the parameter's range on its scale; 0 is low, 1 is high."""
    onto, back = _WARPS[parameter.scale]
    if share <= 0:
        return parameter.low
    if share >= 1:
        return parameter.high
    value = back(onto(parameter.low) * (1 - share) + onto(parameter.high) * share)
    return min(max(value, parameter.low), parameter.high)


def warp(parameter: FloatParameter | IntParameter, value: float) -> float:
    """Return where a value of the range lies on the parameter's scale, from 0 (low) to 1 (high); turns `warp_back` round."""
    onto, _ = _WARPS[parameter.scale]
    start, end = onto(parameter.low), onto(parameter.high)
    return min(max((onto(value) - start) / (end - start), 0.0), 1.0) if end > start else 0.0


def drawer(parameter: Parameter) -> Callable[[Draws], Value]:
    """Return the function that draws a value, uniform on the parameter's scale."""
    if isinstance(parameter, IntParameter) and parameter.scale == "log":
        return _log_int_drawer(parameter.low, parameter.high)
    axis = lattice(parameter)
    if axis is not None:
        at, size = axis.at, axis.size
        return lambda draws: at(draws.below(size))
    if isinstance(parameter, CategoricalParameter):  # pragma: no cover - a categorical always has a lattice
        raise TypeError("a categorical parameter has a lattice")
    low, high = parameter.low, parameter.high
    onto, back = _WARPS[parameter.scale]
    start, end = onto(low), onto(high)

    def draw(draws: Draws) -> Value:
        share = draws.uniform()
        return min(max(back(start * (1 - share) + end * share), low), high)

    return draw


def _log_int_drawer(low: int, high: int) -> Callable[[Draws], Value]:
    """Each whole number gets the log-length of the unit around it."""
    start, end = math.log(low - 0.5), math.log(high + 0.5)
    return lambda draws: min(max(round(math.exp(start + (end - start) * draws.uniform())), low), high)
