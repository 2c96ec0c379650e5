"""What steps the members of a lane: one program for stacks of any network, and one for some that is compiled."""

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from torch import Tensor

from training.course import Run
from training.population.panel import Counts
from training.population.stacks import Shapes, Stacks

# A stride should not take longer than this: between strides a lane hears of stops and shows signs of life.
STRIDE_SECONDS = 0.1


@dataclass(slots=True)
class Taken:
    """What was taken of a stride: so many `steps` (P,) of each member, in which it had losses (steps, P), in blocks.

    Batches had `counts` (P,) examples, the last one of a member `lasts`. Readings (P, 3) are sums over so many times (P,)
    that each looked.
    """

    steps: Counts
    counts: Counts
    lasts: Counts
    losses: list[Tensor] = field(default_factory=list)
    looks: list[tuple[Tensor, Counts]] = field(default_factory=list)

    @classmethod
    def nothing(cls, members: int) -> "Taken":
        """Return what is taken before the first step."""
        steps, counts, lasts = np.zeros((3, members), np.int64)
        return cls(steps, counts, lasts)


class Program(Protocol):
    """What members are trained and evaluated by.

    A `choosy` one steps batches of any sizes beside each other, and some members while others stand still.
    """

    choosy: bool

    def step(self, stacks: Stacks, still: Container[Run], taken: Taken) -> None:
        """Take a stride, but for those who are to stand still, and enter what was taken of it.

        Raise what torch raises where a step cannot be taken: each member then stands behind the last one that was entered.
        """

    def evaluate(self, rows: Tensor, shapes: Shapes) -> list[dict[str, float]]:
        """Return how well parameters (P, D) do on the validation part, by name: the loss and the task's measures."""

    def step_seconds(self, members: int, size: int) -> float:
        """Return about how long a step takes with batches of this size; 0 before one was taken, and of a choosy one."""
