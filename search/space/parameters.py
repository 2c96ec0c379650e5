"""The parameters of a space, searched and not, as frozen values that check themselves.

A float lies on a linear, log, reverse_log (1 - x on a log scale, for momentum near 1) or logit scale (both ends of (0, 1)
resolved) or, with `step`, on the lattice low + k * step, reckoned in decimal and rounded once, so that 0 + 3 * 0.1 is 0.3.
`high` need not be on the lattice; the last point is the last one not above it. `low == high` is allowed.
`levels` (a count, or the values) gives a grid its points; on a float or int `choices` is the same list. Random and
model-based strategies use the whole range.

Two kinds are not searched and are in every point where they are active: a fixed value, and one derived from two others.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeGuard, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from search.space.ranges import range_complaints

Value: TypeAlias = str | int | float | bool | None
Setting: TypeAlias = Value | tuple[float, ...]  # what an objective can fix
Point: TypeAlias = dict[str, Value]
Complaint: TypeAlias = tuple[str, str]  # field, what is wrong with it

WIDEST = 1e100  # bounds beyond this overflow in the arithmetic of any model
MOST_LEVELS = 1000


def identity(value: Value) -> tuple[str, Value]:
    """Key by which two values of JSON are the same: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, bool):
        return "bool", value
    return ("number" if isinstance(value, int | float) else "other"), value


def is_number(value: object) -> TypeGuard[float]:
    """Say whether the value is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_scalar(value: object) -> bool:
    """Say whether the value is one that a parameter could have: a string, a finite number, true, false or null."""
    return value is None or isinstance(value, str | bool) or is_number(value)


def _scalar(value: object) -> Value:
    if is_scalar(value):
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
ParameterName: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]
Factor: TypeAlias = Annotated[float, Field(ge=-WIDEST, le=WIDEST)]
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


_TYPE = "float, int, categorical, fixed or derived"
_DEFAULT = "Part of the point that the study starts from, see start_from_default"


class FloatParameter(_Parameter):
    """A number between `low` and `high`, both included."""

    type: Literal["float"] = Field(description=_TYPE)
    low: float = Field(ge=-WIDEST, le=WIDEST)
    high: float = Field(ge=-WIDEST, le=WIDEST)
    step: float | None = Field(None, gt=0, exclude_if=absent, description="Only low + k * step; linear scale only")
    scale: Literal["linear", "log", "reverse_log", "logit"] = Field(
        "linear",
        description="reverse_log: 1 - x on a log scale, for values that crowd below 1; "
        "logit: log(x / (1 - x)), for shares that may lie near 0 or near 1",
    )
    levels: Levels | None = Field(None, exclude_if=absent, description="The points a grid takes: a count or the values")
    choices: Listed[float] | None = Field(None, exclude_if=absent, description="Another name for a list of `levels`")
    default: float | None = Field(None, exclude_if=absent, description=_DEFAULT)

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        yield from super().complaints(fields)
        yield from range_complaints(fields)
        low, high, scale = fields.get("low"), fields.get("high"), fields.get("scale")
        if fields.get("step") is not None and scale in {"log", "reverse_log", "logit"}:
            yield "step", f"goes with scale linear only, not {scale}: drop one of the two"
        if scale in {"log", "logit"} and low is not None and low <= 0:
            yield "low", f"must be above 0 on a {scale} scale, got {low:g}"
        if scale in {"reverse_log", "logit"} and high is not None and high >= 1:
            yield "high", f"must be below 1 on a {scale} scale, got {high:g}"


class IntParameter(_Parameter):
    """A whole number between `low` and `high`, both included."""

    type: Literal["int"] = Field(description=_TYPE)
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
        yield from range_complaints(fields)
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

    type: Literal["categorical"] = Field(description=_TYPE)
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


class FixedParameter(_Parameter):
    """One value that every trial has where its conditions hold; nothing searches it."""

    type: Literal["fixed"] = Field(description=_TYPE)
    value: Scalar = Field(description="What every trial gets", examples=[0.9, "adamw"])


class DerivedParameter(_Parameter):
    """A number that follows from two others: `of`, times what `by` makes of it. It is absent where one of the two is."""

    type: Literal["derived"] = Field(description=_TYPE)
    of: ParameterName = Field(description="The parameter that is scaled", examples=["base_lr"])
    by: ParameterName = Field(description="The parameter that it is scaled with", examples=["batch_size"])
    rule: Literal["linear", "sqrt", "factor"] = Field(
        description="linear: of * (by / reference); sqrt: of * sqrt(by / reference); factor: of * factors[by]"
    )
    reference: float | None = Field(
        None,
        gt=0,
        le=WIDEST,
        exclude_if=absent,
        description="With linear and sqrt: the value of `by` at which it equals `of`",
        examples=[32],
    )
    factors: dict[str, Factor] | None = Field(
        None,
        min_length=1,
        exclude_if=absent,
        description="With factor: a number for each value of `by`, all of which are strings",
        examples=[{"sgd": 0.1, "adam": 0.001}],
    )

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        yield from super().complaints(fields)
        rule = fields.get("rule")
        if rule is None:
            return
        wanted, other = ("factors", "reference") if rule == "factor" else ("reference", "factors")
        if wanted in fields and fields[wanted] is None:
            yield wanted, f"is required with rule {rule}"
        if fields.get(other) is not None:
            yield other, f"does nothing with rule {rule}: drop it"

    @property
    def parents(self) -> tuple[str, str]:
        """What it is derived from."""
        return self.of, self.by


Searched: TypeAlias = FloatParameter | IntParameter | CategoricalParameter
Parameter: TypeAlias = Searched | FixedParameter | DerivedParameter
PARAMETERS: Mapping[str, type[Parameter]] = {
    "float": FloatParameter,
    "int": IntParameter,
    "categorical": CategoricalParameter,
    "fixed": FixedParameter,
    "derived": DerivedParameter,
}
