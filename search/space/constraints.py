"""Linear constraints between parameters: which points they allow.

Numbers count as they are written in decimal, and sums of them are exact: 0.1 + 0.2 is at most 0.3.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field

from search.space.parameters import WIDEST, Complaint, ParameterName, Part, Value, absent

_MOST_TERMS = 64
# A sum of floats nearer to its limit than this share of what was added is reckoned again, exactly.
_DOUBT = 1e-12

Coefficient = Annotated[float, Field(ge=-WIDEST, le=WIDEST)]


class Constraint(Part):
    """A sum of parameters, each times its coefficient, that every trial keeps within limits.

    A parameter that is not active counts 0.
    """

    terms: dict[ParameterName, Coefficient] = Field(
        min_length=1,
        max_length=_MOST_TERMS,
        description="Coefficients by the names of float, int or fixed parameters",
        examples=[{"warmup": 1, "decay": 1}],
    )
    at_most: float | None = Field(None, ge=-WIDEST, le=WIDEST, exclude_if=absent, examples=[1.0])
    at_least: float | None = Field(None, ge=-WIDEST, le=WIDEST, exclude_if=absent)

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        for name, coefficient in (fields.get("terms") or {}).items():
            if coefficient == 0:
                yield f"terms.{name}", "must not be 0: leave out what does not count"
        most, least = fields.get("at_most"), fields.get("at_least")
        if most is None and least is None:
            yield "at_most", "is required, or at_least, or both"
        elif most is not None and least is not None and least > most:
            yield "at_least", f"must not be above at_most, got {least:g} > {most:g}"

    @property
    def limits(self) -> tuple[Fraction | None, Fraction | None]:
        """The least and the largest sum allowed, None where there is no limit."""
        return _exact_or_none(self.at_least), _exact_or_none(self.at_most)


def exact(number: float) -> Fraction:
    """Return a finite number as it is written in decimal."""
    return Fraction(number) if isinstance(number, int) else Fraction(Decimal(repr(number)))


def holds(constraint: Constraint, params: Mapping[str, Value]) -> bool:
    """Say whether a point keeps a constraint; every value that counts must be a finite number."""
    counted = [(factor, params[name]) for name, factor in constraint.terms.items() if name in params]
    parts: list[float] = [factor * value for factor, value in counted]  # type: ignore[operator]
    total, size = sum(parts), sum(map(abs, parts))
    for limit, sign in ((constraint.at_most, 1), (constraint.at_least, -1)):
        if limit is None:
            continue
        over = sign * (total - limit)
        doubtful = abs(over) <= _DOUBT * (size + abs(limit))
        if (_exact_sum(counted) - exact(limit)) * sign > 0 if doubtful else over > 0:
            return False
    return True


def total(constraint: Constraint, params: Mapping[str, Value]) -> float:
    """Return the sum that a constraint speaks of."""
    return float(_exact_sum([(factor, params[name]) for name, factor in constraint.terms.items() if name in params]))


def _exact_sum(counted: list[tuple[float, Value]]) -> Fraction:
    return sum((exact(factor) * exact(value) for factor, value in counted), Fraction())  # type: ignore[arg-type]


def _exact_or_none(number: float | None) -> Fraction | None:
    return None if number is None else exact(number)
