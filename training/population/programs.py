"""What steps the members of a lane: one program for stacks of any network, and one for some that is compiled."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.population.stacks import Shapes, Stacks
from training.population.strides import Stride


@dataclass(slots=True)
class Taken:
    """The steps of a stride that were taken whole: losses (P,) of each, and readings (P, 3) where somebody's were due."""

    losses: list[Tensor] = field(default_factory=list)
    looks: list[tuple[Tensor, NDArray[np.bool_]]] = field(default_factory=list)


class Program(Protocol):
    """What members are trained and evaluated by."""

    def step(self, stacks: Stacks, stride: Stride, due: NDArray[np.bool_], taken: Taken, *, threads: int) -> None:
        """Take the steps of a stride, and enter each that was taken whole.

        `due` (steps, P) says whose turn it is to be looked at. Raise what torch raises where a step cannot be taken:
        every member then stands behind the last one that was.
        """

    def evaluate(self, rows: Tensor, shapes: Shapes) -> list[dict[str, float]]:
        """Return how well parameters (P, D) do on the validation part, by name: the loss and the task's measures."""
