"""How well parameters do on examples, whatever room there is in memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from training.data.examples import Data, Examples
from training.memory import is_out_of_memory
from training.networks.base import Network
from training.tasks import Measure

T = TypeVar("T")

# So many examples are evaluated at a time, and fewer where they are large.
BLOCK = 8192
BLOCK_NUMBERS = 2**18
# So many tell about how large the loss is before training.
FIRST = 512


def evaluate(network: Network, data: Data, params: Sequence[Tensor], examples: Examples) -> dict[str, float]:
    """Return the mean loss and the mean of each measure of the task, by name.

    The examples are taken in blocks that become smaller until they fit into memory; raise what torch raises if not
    even a single one does.
    """
    measures = {"loss": data.task.losses, **data.task.measures}
    return in_blocks(_largest(data), lambda size: means(network, params, examples.blocks(size), measures))


def first_loss(network: Network, data: Data, params: Sequence[Tensor]) -> float:
    """Return the mean loss over the first FIRST of the examples trained on; raise as `evaluate` does."""
    loss, largest = {"loss": data.task.losses}, min(FIRST, _largest(data))
    found = in_blocks(largest, lambda size: means(network, params, islice(data.train.blocks(size), 1), loss))
    return found["loss"]


def in_blocks(largest: int, run: Callable[[int], T]) -> T:
    """Return what `run` does with blocks of at most so many examples, halved until they fit into memory."""
    size = largest
    while True:
        try:
            return run(size)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            size //= 2


def _largest(data: Data) -> int:
    return max(1, min(BLOCK, BLOCK_NUMBERS // data.features))


@torch.no_grad()
def means(
    network: Network,
    params: Sequence[Tensor],
    blocks: Iterable[tuple[Tensor, Tensor]],
    measures: Mapping[str, Measure],
) -> dict[str, float]:
    """Return the mean of each measure over the blocks."""
    sums, count = dict.fromkeys(measures, 0.0), 0
    for inputs, targets in blocks:
        outputs = network.apply(params, inputs)
        count += len(targets)
        for name, measure in measures.items():
            sums[name] += measure(outputs, targets).double().sum().item()
    return {name: total / count for name, total in sums.items()}
