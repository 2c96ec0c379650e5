"""The compiled loops, over as many threads as are wanted: of examples, or of neurons where those are written to."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..active import Active
from . import compiled
from .interface import Layer, Lists

T = TypeVar("T")

# A thread is worth its beginning from so many numbers on.
_WORTH = 1_000_000


class CompiledKernels:
    """The loops of `kernels.compiled`; see `Kernels`. With several threads it keeps a pool of them."""

    def __init__(self, threads: int = 1) -> None:
        """Use so many threads."""
        self.threads = threads
        self._seen: tuple[Tensor, ...] = ()
        self._views: tuple[Any, ...] = ()
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def _arrays(self, layer: Layer) -> tuple[Any, ...]:
        """Return weights, inputs, signs and paths as arrays, made once: small steps would notice."""
        held = layer.weights, layer.inputs, layer.signs, layer.paths
        if len(self._seen) != len(held) or any(one is not other for one, other in zip(held, self._seen, strict=True)):
            self._seen, self._views = held, tuple(tensor.numpy() for tensor in held)
        return self._views

    def fire(self, layer: Layer, numbers: Tensor, lists: Lists, extra: Tensor, threshold: float) -> tuple[Active, int]:
        room = int(lists.lengths[numbers].max()) + len(extra)
        active = Active.room(len(numbers), room)
        weights, inputs, _, _ = self._arrays(layer)
        given = (
            weights, inputs, numbers.numpy(), lists.entries.numpy(), lists.lengths.numpy(),
            extra.numpy(), threshold, active.neurons.numpy(), active.heights.numpy(), active.counts.numpy(),
        )  # fmt: skip
        work = len(numbers) * room * layer.inputs.shape[1]
        return active, sum(self._over(len(numbers), work, lambda first, last: compiled.fire(*given, first, last)))

    def scan(self, active: Active, products: Tensor, begin: int, threshold: float) -> None:
        given = (
            products.numpy(), begin, threshold, active.neurons.numpy(), active.heights.numpy(), active.counts.numpy()
        )  # fmt: skip
        self._over(len(products), products.numel(), lambda first, last: compiled.scan(*given, first, last))

    def strongest(self, active: Active, most: int) -> Active:
        given = active.neurons.numpy(), active.heights.numpy(), active.counts.numpy(), most
        self._over(
            len(active.counts), active.heights.numel(), lambda first, last: compiled.strongest(*given, first, last)
        )
        return active

    def speak(self, layer: Layer, active: Active, threshold: float, *, squared: bool) -> Tensor:
        outputs = torch.empty(len(active.counts), layer.signs.shape[1], dtype=torch.float64)
        given = (
            active.neurons.numpy(), active.heights.numpy(), active.counts.numpy(), self._arrays(layer)[2], threshold,
            squared, outputs.numpy(),
        )  # fmt: skip
        work = active.heights.numel() * layer.signs.shape[1]
        self._over(len(active.counts), work, lambda first, last: compiled.speak(*given, first, last))
        return outputs

    def move(
        self, layer: Layer, numbers: Tensor, active: Active, pulls: Tensor, threshold: float, *, squared: bool,
        allowance: float,
    ) -> Tensor:  # fmt: skip
        weights, inputs, signs, paths = self._arrays(layer)
        given = (
            weights, inputs, numbers.numpy(), active.neurons.numpy(), active.heights.numpy(), active.counts.numpy(),
            signs, pulls.numpy(), threshold, squared, paths, allowance,
        )  # fmt: skip
        # A neuron passes once: that there is room for all that are active is enough.
        room = min(active.neurons.numel(), len(layer.weights))

        def part(first: int, last: int) -> Tensor:
            beyond = torch.empty(min(room, last - first), dtype=torch.int32)
            return beyond[: compiled.move(*given, beyond.numpy(), first, last)]

        found = self._over(len(layer.weights), active.heights.numel() * layer.inputs.shape[1], part)
        return found[0] if len(found) == 1 else torch.cat(found)

    def collect(self, lists: Lists, products: Tensor, begin: int, floor: float) -> None:
        given = products.numpy(), begin, floor, lists.entries.numpy(), lists.lengths.numpy()
        self._over(len(products), products.numel(), lambda first, last: compiled.collect(*given, first, last))

    def insert(self, lists: Lists, products: Tensor, fresh: Tensor, floor: float) -> None:
        given = products.numpy(), fresh.numpy(), floor, lists.entries.numpy(), lists.lengths.numpy()
        work = lists.entries.numel() + products.numel()
        self._over(len(products), work, lambda first, last: compiled.insert(*given, first, last))

    def settle(self, layer: Layer, snapshot: Tensor, beyond: Tensor, reach: float) -> Tensor:
        strays = torch.empty_like(beyond)
        given = layer.weights.numpy(), snapshot.numpy(), beyond.numpy(), reach, layer.paths.numpy(), strays.numpy()
        return strays[: compiled.settle(*given)]

    def _over(self, rows: int, work: int, part: Callable[[int, int], T]) -> list[T]:
        """Have the rows done in as many parts as their work is worth; return what each part returned, in order."""
        parts = min(self.threads, rows, 1 + work // _WORTH)
        if parts == 1 or self._pool is None:
            return [part(0, rows)]
        bounds = [rows * each // parts for each in range(parts + 1)]
        return list(self._pool.map(part, bounds[:-1], bounds[1:]))
