"""What is learned: the loss that training follows, and the measures that tell how well it went."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

# Of outputs (n, ...) and targets (n,), a number for each example (n,).
Measure: TypeAlias = Callable[[Tensor, Tensor], Tensor]


# Of outputs in columns (P, c, n) and targets (P, n), the losses (P, n) and their slopes (P, c, n) by the outputs.
Slope: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Task:
    """`losses(outputs, targets)` gives the loss of each example (n,), whose mean training follows.

    `slope` gives the same losses with their slopes, for stacked members.

    `measures` give a number for each example whose mean over the validation split is reported under the name.
    """

    name: str
    losses: Measure
    slope: Slope
    measures: Mapping[str, Measure]


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    # As F.cross_entropy, but along columns: over the short rows of a few classes the CPU takes several times as long.
    logs = F.log_softmax(outputs.mT.contiguous(), dim=0)
    return -logs.gather(0, targets.unsqueeze(0)).squeeze(0)


def _correct(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.max(dim=1).indices == targets  # argmax, and faster


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.squeeze(1) - targets).square()


def _absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.squeeze(1) - targets).abs()


def _cross_entropy_slope(columns: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logs, places = F.log_softmax(columns, dim=1), targets.unsqueeze(1)
    losses = -logs.gather(1, places).squeeze(1)
    return losses, logs.exp_().scatter_add_(1, places, torch.full_like(places, -1, dtype=logs.dtype))


def _squared_error_slope(columns: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    apart = columns.squeeze(1) - targets
    return apart.square(), 2 * apart.unsqueeze(1)


CLASSIFICATION = Task("classification", _cross_entropy, _cross_entropy_slope, MappingProxyType({"accuracy": _correct}))
REGRESSION = Task("regression", _squared_error, _squared_error_slope, MappingProxyType({"mae": _absolute_error}))
