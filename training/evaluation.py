"""How well parameters do on examples, whatever room there is in memory."""

from collections.abc import Iterable, Sequence
from itertools import islice

import torch
from torch import Tensor

from training.data.examples import Data, Examples
from training.memory import is_out_of_memory
from training.networks.base import Network
from training.tasks import Task

# So many examples are evaluated at a time, and fewer where they are large.
BLOCK = 8192
BLOCK_NUMBERS = 2**18


def evaluate(
    network: Network, data: Data, params: Sequence[Tensor], examples: Examples, *, most_blocks: int | None = None
) -> dict[str, float]:
    """Return the mean loss and the mean of each measure of the task, by name.

    The examples are taken in blocks that become smaller until they fit into memory; raise what torch raises if not
    even a single one does.
    """
    size = max(1, min(BLOCK, BLOCK_NUMBERS // data.features))
    while True:
        try:
            return means(network, data.task, params, islice(examples.blocks(size), most_blocks))
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            size //= 2


@torch.no_grad()
def means(
    network: Network, task: Task, params: Sequence[Tensor], blocks: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Return the mean loss and measures over the blocks."""
    measures = {"loss": task.losses, **task.measures}
    sums, count = dict.fromkeys(measures, 0.0), 0
    for inputs, targets in blocks:
        outputs = network.apply(params, inputs)
        count += len(targets)
        for name, measure in measures.items():
            sums[name] += measure(outputs, targets).double().sum().item()
    return {name: total / count for name, total in sums.items()}
