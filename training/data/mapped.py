"""Examples that stay on disk: only those that are asked for come into memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Mapped:
    """Those rows of mapped arrays whose `numbers` are given, in this order. Whole numbers come as int64."""

    inputs: NDArray[Any]
    targets: NDArray[Any]
    numbers: NDArray[np.int64]
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        return self._taken(self.numbers[numbers.cpu().numpy()])

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self), size):
            yield self._taken(self.numbers[start : start + size])

    def to(self, device: torch.device) -> "Mapped":
        return replace(self, device=device)

    def _taken(self, numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        # Indexing by an array copies: what is returned holds nothing of the file.
        inputs, targets = (torch.from_numpy(np.asarray(part[numbers])) for part in (self.inputs, self.targets))
        return self._placed(inputs), self._placed(targets)

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, torch.float32 if tensor.is_floating_point() else torch.int64)
