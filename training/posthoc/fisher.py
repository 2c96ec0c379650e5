"""The Fisher information of a trained run's training data, parameter by parameter: the diagonal of its matrix.

    F_ii = (1/N) sum_n sum_c (d/d theta_i of v_c . f(x_n))^2

over vectors v_c of the outputs f whose outer products are the curvature of the loss. Where outputs are many they are drawn.
"""

import torch
from torch import Tensor

from optim.precondition.batch import EXACT, SAMPLED
from optim.precondition.layers import Seen
from optim.precondition.matrices.diagonal import DIAGONAL
from optim.precondition.operations.gradients import split
from training.curvature import batch_of
from training.posthoc.trained import Pieces, Trained, blocks

# With more outputs than this, so many vectors are drawn for each example.
MOST_EXACT = 64
SAMPLES = 16


def source_of(trained: Trained) -> str:
    """Say which vectors are propagated back: all of them, or drawn ones where they would be too many."""
    return EXACT if trained.data.outputs <= MOST_EXACT else SAMPLED


def diagonal(trained: Trained) -> Pieces[list[Tensor]]:
    """Return the diagonal, shaped as the parameters; 0 for those in no layer that is known.

    Raise Unavailable where no layer with a matrix is known.
    """
    layers, params, data = trained.layers, trained.params, trained.data
    largest = max(params[layer.places[0]].numel() for layer in trained.matrices)
    found = [torch.zeros_like(param) for param in params]
    for number, numbers in enumerate(blocks(data, largest * min(data.outputs, MOST_EXACT))):
        batch = batch_of(trained.course.network, data, layers, params, numbers)
        for seen in batch.seen(source_of(trained), key=trained.key(number), samples=SAMPLES):
            for place, part in zip(seen.layer.places, _squares(seen), strict=True):
                found[place] += part.detach() * (len(numbers) / len(data.train))
        yield
    return found


def _squares(seen: Seen) -> list[Tensor]:
    """Return the weighted mean of squares of examples' gradients, shaped as the layer's parameters."""
    (units,) = DIAGONAL.estimate(seen)
    return split(seen.layer, units)
