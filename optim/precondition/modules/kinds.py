"""What the kinds of layers have in common: how each is seen by those who estimate curvature.

The parameters of every kind can be laid out as units (*, U, k) of k parameters each: an output with its row of the weight
and its bias, a channel with its scale and shift, a token with its vector. Gradients of single examples come so, too. The
kinds whose weight is a matrix (`MATRIX`) also give what the matrix multiplies and what comes back, from which Kronecker
factors are made; a convolution is a matrix over patches, one for each group, and a bias is one more column, whose input is 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from ..layers import Layer, Seen, Tensors
from . import convolution, elementwise, embedding, linear


@dataclass(frozen=True, slots=True)
class Matrix:
    """How a layer is a matrix (*, G, o, d), G groups of it, d counting the bias's column.

    `columns` gives inputs (*, G, n, t, d) at t positions of each example; `rows` slopes (*, c, G, n, t, o); `join` the
    parameters, or gradients of them, as the matrix; `split` gives them back, weight before bias.
    """

    columns: Callable[[Seen], Tensor]
    rows: Callable[[Seen], Tensor]
    join: Callable[[Layer, Tensors, int], Tensor]
    split: Callable[[Layer, Tensor, Tensors], list[Tensor]]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a layer is units: `units(seen)` gives the gradients of each example by its loss, (*, c, n, U, k).

    `join(layer, tensors, front)` lays out parameters, or gradients of them, with so many axes in front; `split(layer, units)`
    gives them back, weight before bias.
    """

    units: Callable[[Seen], Tensor]
    join: Callable[[Layer, Tensors, int], Tensor]
    split: Callable[[Layer, Tensor], list[Tensor]]


MATRIX: Mapping[str, Matrix] = MappingProxyType(
    {
        "linear": Matrix(linear.columns, linear.rows, linear.join, linear.split),
        "convolution": Matrix(convolution.columns, convolution.rows, convolution.join, convolution.split),
    }
)


def _of_matrix(matrix: Matrix) -> Kind:
    """Return how a matrix is units: its rows, those of all groups one after the other."""

    def units(seen: Seen) -> Tensor:
        groups = seen.members + 1
        found = matrix.rows(seen).mT @ matrix.columns(seen).unsqueeze(seen.members)  # (*, c, G, n, o, d)
        return found.transpose(groups, groups + 1).flatten(groups + 1, groups + 2)

    def join(layer: Layer, tensors: Tensors, front: int) -> Tensor:
        return matrix.join(layer, tensors, front).flatten(front, front + 1)

    return Kind(units, join, linear.parts)


_ELEMENTWISE = Kind(elementwise.units, elementwise.join, elementwise.split)
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        **{name: _of_matrix(matrix) for name, matrix in MATRIX.items()},
        "embedding": Kind(embedding.units, embedding.join, embedding.split),
        "norm": _ELEMENTWISE,
        "scale": _ELEMENTWISE,
        "bias": _ELEMENTWISE,
    }
)


def per_example(seen: Seen) -> list[Tensor]:
    """Return the gradients of each example's loss by the layer's parameters, (*, c, n, ...) each, weight before bias."""
    kind = KINDS[seen.layer.kind]
    return kind.split(seen.layer, kind.units(seen))
