"""SENG, sketchy empirical natural gradient: layer by layer, the empirical Fisher matrix of the batch from few numbers.

    b = (K + damping I)^-1 v,   g <- (g - U b) / damping         for each layer by itself

U holds gradients of examples, of low rank where an example sums over many positions; K and v are U^T U and U^T g from a
sample of their rows and columns where there are more than `sketch` (`matrices.sketch`). b so solves the least squares
problem |U b - g|^2 + damping |b|^2 over sampled numbers; where U and g are whole, g becomes (F + damping I)^-1 g exactly.
The authors keep U for many steps; here it is always that of the batch, so that the step needs no curvature of the past.

Source: Yang et al., Sketchy Empirical Natural Gradient Methods for Deep Learning, 2022.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ...transform import Hyper, Rule, Tensors
from ..batch import EMPIRICAL, Batch
from ..layers import Layer, Seen
from ..operations import gram
from ..operations.sketch import low_rank, sketched
from .momentary import MomentaryState, momentary
from .natural import of, replaced


def seng(layers: Sequence[Layer]) -> Rule[MomentaryState]:
    """Return the link for these layers, whose weights are matrices."""

    def direction(batch: Batch, grads: Tensors, step: Tensor, hyper: Hyper) -> list[Tensor]:
        found = []
        for salt, (layer, seen) in enumerate(zip(layers, batch.seen(EMPIRICAL, key=step), strict=True)):
            own = of(layer, grads)
            new = _layer(seen, gram.join(layer, own, hyper["damping"].ndim), step, hyper, salt)
            found.append(gram.split(layer, new, own))
        return replaced(grads, layers, found)

    return momentary(direction)


def _layer(seen: Seen, matrix: Tensor, step: Tensor, hyper: Hyper, salt: int) -> Tensor:
    """Return the preconditioned gradient of a layer (*, G, o, d), each member's by its own sizes."""
    found = torch.empty_like(matrix)
    for mask, sketch, rank in _sizes(hyper):
        # A mask without axes makes one model a population of one.
        part = Seen(seen.layer, seen.inputs[mask], seen.slopes[mask], seen.weights[mask])
        whole, wanted, damping = low_rank(gram.examples(part), rank), matrix[mask], hyper["damping"][mask]
        fewer, sampled = sketched(whole, wanted, sketch, step[mask], salt)
        amounts = gram.solve(gram.products(fewer, sampled), gram.gram(fewer), damping)
        found[mask] = gram.remainder(wanted, whole, amounts, damping)
    return found


def _sizes(hyper: Hyper) -> Iterator[tuple[Tensor, int, int]]:
    """Yield each sketch and rank that some members have, with the mask of those."""
    sketch, rank = hyper["sketch"], hyper["rank"]
    for wanted in sorted(set(zip(sketch.reshape(-1).tolist(), rank.reshape(-1).tolist(), strict=True))):
        yield (sketch == wanted[0]) & (rank == wanted[1]), int(wanted[0]), int(wanted[1])
