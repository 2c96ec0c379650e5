"""How well each member of a lane does on examples: `training.evaluation` for stacked parameters, in one pass for all."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from training.data.examples import Data, Examples
from training.evaluation import BLOCK, BLOCK_NUMBERS, in_blocks

# Blocks are no smaller than this for having many members: more calls would cost more than caches give.
LEAST_BLOCK = 64


def evaluate_members(
    outputs: Callable[[Sequence[Tensor], Tensor], Tensor], data: Data, params: Sequence[Tensor], examples: Examples
) -> list[dict[str, float]]:
    """Return the mean loss and the mean of each measure of the task, by name, of each member.

    `outputs` maps parameters (P, ...) and inputs (P, n, ...) to outputs (P, n, c). The examples are taken in blocks that
    become smaller until they fit into memory; raise what torch raises if not even a single one does.
    """
    largest = min(BLOCK, max(LEAST_BLOCK, BLOCK_NUMBERS // (data.features * len(params[0]))))
    return in_blocks(largest, lambda size: _means(outputs, data, params, examples, size))


@torch.no_grad()
def _means(
    outputs: Callable[[Sequence[Tensor], Tensor], Tensor],
    data: Data,
    params: Sequence[Tensor],
    examples: Examples,
    size: int,
) -> list[dict[str, float]]:
    members, measures = len(params[0]), {"loss": data.task.losses, **data.task.measures}
    sums = torch.zeros(len(measures), members, dtype=torch.float64, device=params[0].device)
    for inputs, targets in examples.blocks(size):
        found = outputs(params, inputs.expand(members, *inputs.shape)).flatten(0, 1)
        repeated = targets.repeat(members)
        for place, measure in enumerate(measures.values()):
            sums[place] += measure(found, repeated).reshape(members, -1).double().sum(dim=1)
    means = (sums / len(examples)).T.tolist()
    return [dict(zip(measures, each, strict=True)) for each in means]
