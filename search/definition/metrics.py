"""What a study measures."""

from typing import Literal

from search.definition.bounds import Name
from search.space.parameters import Part


class Metric(Part):
    """A number that trials report. One has the role `optimize`; the others are stored."""

    name: Name
    goal: Literal["minimize", "maximize"]
    role: Literal["optimize", "store"] = "optimize"
