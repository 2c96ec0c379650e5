"""What a task's data are to training: examples that can be taken by their numbers or block by block, and what they are of."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from training.tasks import Task


class Examples(Protocol):
    """N examples: inputs (n, ...) and targets (n,) come on one device, however they are kept."""

    def __len__(self) -> int: ...

    def rows(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the examples with these numbers, int64 (n,) on the CPU, in this order."""

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return all examples in their order, `size` at a time."""

    def to(self, device: torch.device) -> "Examples":
        """Return the same examples, given on `device`."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """Examples that are tensors already."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        numbers = numbers.to(self.inputs.device)
        # Several times as fast as indexing on a CPU.
        return self.inputs.index_select(0, numbers), self.targets.index_select(0, numbers)

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(torch.split(self.inputs, size), torch.split(self.targets, size), strict=True)

    def to(self, device: torch.device) -> "InMemory":
        return InMemory(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True, slots=True)
class Data:
    """A task and its examples.

    `shape` is that of one input. `outputs` is how many numbers a network gives for an example: the classes, or 1.
    `image` is the shape (channels, height, width) of one input if inputs are pictures, else None. `vocabulary` is how
    many tokens there are if inputs are tokens (int64, 0 is padding), else None. `version` tells data of one name apart,
    where what it names may change. `test` are examples held out of those to train on, if any are.
    """

    name: str
    task: Task
    train: Examples
    val: Examples
    shape: tuple[int, ...]
    outputs: int
    image: tuple[int, int, int] | None = None
    vocabulary: int | None = None
    version: str = ""
    test: Examples | None = None

    @property
    def features(self) -> int:
        """How many numbers one input has."""
        return torch.Size(self.shape).numel()

    def to(self, device: torch.device) -> "Data":
        """Return the same data, given on `device`."""
        test = None if self.test is None else self.test.to(device)
        return replace(self, train=self.train.to(device), val=self.val.to(device), test=test)
