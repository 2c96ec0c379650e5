"""What the loops of sparse training are, however they are computed."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..active import Active


@dataclass(slots=True)
class Lists:
    """Of each of n inputs the neurons that may fire: `entries` (n, room) int32 rise, `lengths` (n,) int64 of them count."""

    entries: Tensor
    lengths: Tensor


@dataclass(slots=True)
class Layer:
    """What is computed with: weights (m, d), inputs (n, d) and signs (m, C), all float32, on the CPU and contiguous.

    `paths` (m,) are upper bounds of how far each row was moved since whoever answers for it last looked. Rows may be added,
    which gives the layer new tensors; everybody has the same layer.
    """

    weights: Tensor
    inputs: Tensor
    signs: Tensor
    paths: Tensor


class Kernels(Protocol):
    """The loops, on so many `threads`; `numbers` (B,) int64 are the batch's rows of the inputs."""

    threads: int

    def fire(self, layer: Layer, numbers: Tensor, lists: Lists, extra: Tensor, threshold: float) -> tuple[Active, int]:
        """Return who of the listed neurons and the extra ones (int32, rising) is over the threshold, and how many were tried."""

    def scan(self, active: Active, products: Tensor, begin: int, threshold: float) -> None:
        """Append to the answer who is over the threshold of the neurons from `begin`, by their products (B, T).

        There is room for T more.
        """

    def strongest(self, active: Active, most: int) -> Active:
        """Return of each example the `most` highest; `active` may be written over."""

    def speak(self, layer: Layer, active: Active, threshold: float, *, squared: bool) -> Tensor:
        """Return the sums of sign times activation, (B, C) float64: the excess over the threshold, or its square."""

    def move(
        self,
        layer: Layer,
        numbers: Tensor,
        active: Active,
        pulls: Tensor,
        threshold: float,
        *,
        squared: bool,
        allowance: float,
    ) -> Tensor:
        """Subtract from each active row pull (B, C) times sign times slope times input; let paths grow by as much.

        The slope is 1, or twice the excess. Return the neurons (int32) whose paths passed the allowance by that.
        """

    def collect(self, lists: Lists, products: Tensor, begin: int, floor: float) -> None:
        """Append the neurons from `begin` whose inner products (n, T) are over the floor; there is room for T more."""

    def insert(self, lists: Lists, products: Tensor, fresh: Tensor, floor: float) -> None:
        """List neurons `fresh` (T,) int32, rising, where their products (n, T) are over the floor, if they are not listed yet.

        There is room for T more.
        """

    def settle(self, layer: Layer, snapshot: Tensor, beyond: Tensor, reach: float) -> Tensor:
        """Let the path of each row in `beyond` be its distance from the snapshot (m, d), where that is within reach.

        Return the others (int32, in their order), whose paths are infinite now.
        """
