"""What is learned: the loss that training follows, and the measures that tell how well it went."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

# Of outputs (n, ...) and targets (n,), a number for each example (n,).
Measure: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Task:
    """`losses(outputs, targets)` gives the loss of each example (n,), whose mean training follows.

    `measures` give a number for each example whose mean over the validation split is reported under the name.
    """

    name: str
    losses: Measure
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


CLASSIFICATION = Task("classification", _cross_entropy, MappingProxyType({"accuracy": _correct}))
REGRESSION = Task("regression", _squared_error, MappingProxyType({"mae": _absolute_error}))
