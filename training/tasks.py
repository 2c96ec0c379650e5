"""What is learned: the loss that training follows, and the measures that tell how well it went."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Task:
    """`losses(outputs, targets)` gives the loss of each example (n,), whose mean training follows.

    `measures` give a number for each example whose mean over the validation split is reported under the name.
    """

    name: str
    losses: Callable[[Tensor, Tensor], Tensor]
    measures: Mapping[str, Callable[[Tensor, Tensor], Tensor]]


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def _correct(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.argmax(dim=1) == targets


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.squeeze(1) - targets).square()


def _absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.squeeze(1) - targets).abs()


CLASSIFICATION = Task("classification", _cross_entropy, MappingProxyType({"accuracy": _correct}))
REGRESSION = Task("regression", _squared_error, MappingProxyType({"mae": _absolute_error}))
