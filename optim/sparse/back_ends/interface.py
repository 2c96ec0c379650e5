"""What finds the neurons that fire, and what it has had to do for it."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..active import Active


@dataclass(slots=True)
class Counters:
    """What was done so far.

    Over `queries` examples `candidates` inner products were computed, and `active` neurons found. `refreshed` counts rows
    that were looked at anew for all inputs, `flushes` the occasions.
    """

    queries: int = 0
    candidates: int = 0
    active: int = 0
    refreshed: int = 0
    flushes: int = 0

    def take(self, queries: int, *, candidates: int, active: int) -> None:
        """Count what was done for so many examples."""
        self.queries += queries
        self.candidates += candidates
        self.active += active


class BackEnd(Protocol):
    """Answers for a layer's inputs which rows of its weights are over a threshold. The exact ones all answer alike.

    Whoever moves rows adds to `layer.paths` by how far, and tells `update` of those whose path so came over the
    `allowance`. From there paths are the back end's affair.
    """

    counters: Counters

    def allowance(self, threshold: float) -> float:
        """Return how long the path of a row may become before it has to be told."""

    def query(self, numbers: Tensor, threshold: float) -> Active:
        """Return who is over the threshold for the inputs with these numbers, (B,) int64.

        Raise ValueError where it is too low.
        """

    def update(self, beyond: Tensor, threshold: float) -> None:
        """Take note of rows (int32), if any, whose paths came over the allowance; called behind every change.

        Added rows are told so, too, with a path of infinity.
        """

    @property
    def bytes(self) -> int:
        """How much memory it holds beside the layer."""
