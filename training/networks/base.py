"""What a network is: a pure pair of functions over a list of tensors; and how a family of networks reads its fields.

`apply` uses no in-place operation, no dropout and no batch statistics, so that torch.func.vmap runs it over a stack of
parameters: one for each member of a population.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Generator, Tensor

from training.data.examples import Data
from training.tasks import Slope

Params: TypeAlias = Sequence[Tensor]
Spec: TypeAlias = Mapping[str, Any]


# (params, inputs, targets, weights, slope of the task) -> losses (P, n), and of each member's sum of weight times loss
# the gradients by the parameters. Parameters are (P, ...), inputs (P, n, ...), targets and weights (P, n).
Slopes: TypeAlias = Callable[[Params, Tensor, Tensor, Tensor, Slope], tuple[Tensor, list[Tensor]]]


@dataclass(frozen=True, slots=True)
class Network:
    """`init` returns float32 parameters on the CPU; those of one layer follow each other, weight before bias.

    `apply` maps inputs (n, ...) to outputs (n, outputs): logits of classes, or one number. One that `stacks` does so for
    the members of a population, too: parameters (P, ...) and inputs (P, n, ...) become outputs (P, n, outputs). `version` tells networks of one
    spec apart, where what it names may change. `slopes` is given where gradients of stacked members are written out, which
    takes fewer calls than autograd: of what it computes, `apply` is the plain form. `activation` is given where the
    network is dense layers with this one between them, and nothing else: there are compiled steps for some. `names` are
    the parameters', in their order, by which users are told of them; a network of no recipe may leave them out.
    """

    init: Callable[[Generator], list[Tensor]]
    apply: Callable[[Params, Tensor], Tensor]
    stacks: bool = False
    version: str = ""
    slopes: Slopes | None = None
    activation: str | None = None
    names: tuple[str, ...] = ()

    @property
    def stacked(self) -> Callable[[Params, Tensor], Tensor]:
        """`apply` for stacked members: parameters (P, ...) and inputs (P, n, ...)."""
        return self.apply if self.stacks else torch.func.vmap(self.apply)


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of network: its fields with their defaults, and what builds one of a complete spec for data.

    `takes` are the forms of data (see `form`) that it can work on.
    """

    fields: Mapping[str, Any]
    takes: tuple[str, ...]
    build: Callable[[Spec, Data], Network]


def form(data: Data) -> str:
    """Return what the inputs are: "tokens", "pictures" or "numbers"."""
    if data.vocabulary is not None:
        return "tokens"
    return "pictures" if data.image is not None else "numbers"


def sizes(spec: Spec, field: str) -> list[int]:
    """Return a field that lists sizes. Raise ValueError unless they are positive whole numbers."""
    given = spec[field]
    if not isinstance(given, Sequence) or not all(type(size) is int and size > 0 for size in given):
        raise ValueError(f"network.{field} must be a list of positive whole numbers, got {given!r}")
    return list(given)


def size(spec: Spec, field: str) -> int:
    """Return a field that is one size. Raise ValueError unless it is a positive whole number."""
    given: Any = spec[field]
    if type(given) is not int or given < 1:
        raise ValueError(f"network.{field} must be a positive whole number, got {given!r}")
    return given


def choice(spec: Spec, field: str, table: Mapping[str, Any]) -> Any:  # noqa: ANN401 - what the table holds
    """Return what the table holds under a field's name. Raise ValueError listing the valid ones."""
    given: Any = spec[field]
    if not isinstance(given, str) or given not in table:
        raise ValueError(f"network.{field}: unknown {given!r}; valid: {', '.join(table)}")
    return table[given]


def layers(params: Params) -> list[tuple[Tensor, Tensor]]:
    """Pair the weight and the bias of each layer."""
    return list(zip(params[::2], params[1::2], strict=True))
