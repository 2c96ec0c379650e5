"""SMW-NG: the natural gradient over the parameters of all layers at once, with the empirical Fisher matrix of the batch.

    K = U^T U summed over layers,  b = (K + damping I)^-1 U^T g,   g <- (g - U b) / damping

which is (F + damping I)^-1 g exactly, F = U U^T (`matrices.gram`). U b is the gradient of examples weighed anew; it is
computed from what was seen of the layers, without another backward pass.

Source: Ren and Goldfarb, Efficient Subsampled Gauss-Newton and Natural Gradient Methods for Training Neural Networks, 2019.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...transform import Hyper, Rule, Tensors
from ..batch import EMPIRICAL, Batch
from ..layers import Layer
from ..operations import gram
from .momentary import MomentaryState, momentary
from .natural import of, replaced


def smw_ngd(layers: Sequence[Layer]) -> Rule[MomentaryState]:
    """Return the link for these layers."""

    def direction(batch: Batch, grads: Tensors, step: Tensor, hyper: Hyper) -> list[Tensor]:
        if not layers:
            return list(grads)
        damping = hyper["damping"]
        parts = [gram.examples(seen) for seen in batch.seen(EMPIRICAL, key=step)]
        matrices = [gram.join(layer, of(layer, grads), damping.ndim) for layer in layers]
        products = [gram.products(*each) for each in zip(parts, matrices, strict=True)]
        amounts = gram.solve(_total(products), _total([gram.gram(part) for part in parts]), damping)
        found = [
            gram.split(layer, gram.remainder(matrix, part, amounts, damping), of(layer, grads))
            for layer, part, matrix in zip(layers, parts, matrices, strict=True)
        ]
        return replaced(grads, layers, found)

    return momentary(direction)


def _total(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum(dim=0)
