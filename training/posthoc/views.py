"""Other examples made of those there are, wherever these are kept: some of them, or all of them with other inputs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from training.data.examples import Data, Examples

# Of the training part so much is set apart.
APART_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Some:
    """Those examples whose `numbers` are given, int64 (n,) on the CPU, in this order."""

    of: Examples
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        return self.of.rows(self.numbers[numbers])

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return (self.of.rows(part) for part in torch.split(self.numbers, size))

    def to(self, device: torch.device) -> "Some":
        return replace(self, of=self.of.to(device))


@dataclass(frozen=True, slots=True)
class Changed:
    """The same examples with what `change` makes of their inputs (n, ...)."""

    of: Examples
    change: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.of)

    def rows(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        inputs, targets = self.of.rows(numbers)
        return self.change(inputs), targets

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return ((self.change(inputs), targets) for inputs, targets in self.of.blocks(size))

    def to(self, device: torch.device) -> "Changed":
        return replace(self, of=self.of.to(device))


def set_apart(data: Data, generator: Generator) -> Data:
    """Return data whose training and validation parts are four fifths and one fifth of these data's training part."""
    order = torch.randperm(len(data.train), generator=generator)
    apart = max(1, round(APART_SHARE * len(order)))
    return replace(data, train=Some(data.train, order[apart:]), val=Some(data.train, order[:apart]))


def renamed(data: Data, generator: Generator) -> Data:
    """Return data that are the same but for which feature is which; of tokens, which token is which, padding left as it is."""
    change = _features(data.features, generator) if data.vocabulary is None else _tokens(data.vocabulary, generator)
    return replace(data, train=Changed(data.train, change), val=Changed(data.val, change))


def _features(count: int, generator: Generator) -> Callable[[Tensor], Tensor]:
    order = torch.randperm(count, generator=generator)
    return lambda inputs: inputs.flatten(1).index_select(1, order.to(inputs.device)).reshape(inputs.shape)


def _tokens(count: int, generator: Generator) -> Callable[[Tensor], Tensor]:
    names = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(count - 1, generator=generator)])
    return lambda inputs: names.to(inputs.device)[inputs]
