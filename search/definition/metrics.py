"""What a study measures, and what each metric is for."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias, get_args

from pydantic import Field

from search.definition.bounds import Name
from search.space.parameters import Complaint, Part, absent

MOST_OBJECTIVES = 8
Role: TypeAlias = Literal["optimize", "constraint", "store"]
ROLES: tuple[Role, ...] = get_args(Role)


class Metric(Part):
    """A number that trials report: what is optimized, what must keep a threshold, or what is only stored."""

    name: Name
    goal: Literal["minimize", "maximize"]
    role: Role = "optimize"
    threshold: float | None = Field(
        None,
        exclude_if=absent,
        description="Of a constraint: with goal minimize the value may be at most this, with maximize at least this",
    )

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        role, given = fields.get("role"), fields.get("threshold") is not None
        if role == "constraint" and not given:
            yield "threshold", "is required with the role constraint: the value that must be kept"
        if role in {"optimize", "store"} and given:
            yield "threshold", f"goes with the role constraint alone, not {role}: leave it out, or give that role"

    @property
    def sign(self) -> float:
        """What its values are multiplied with so that lower is better."""
        return -1.0 if self.goal == "maximize" else 1.0
