"""The Kronecker eigenbasis of a layer: eigenvectors of its factors A and B, and the curvature's diagonal between them.

    A = U_A D_A U_A^T,   B = U_B D_B U_B^T,   S = sum_c sum_n w_n (U_B^T G_n U_A)^2

of the gradient G_n (o, d) of each example. C is about (U_B (x) U_A) diag(S) (U_B (x) U_A)^T. No other diagonal comes as
near to C in this basis, that of K-FAC included, which is the product of D_B and D_A.

Source: George et al., Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis, 2018. Shapes: bases
(*, G, d, d) and (*, G, o, o), eigenvectors as columns; moments S (*, G, o, d).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...rules.matrices import settled
from ..layers import Layer, Seen, Tensors
from ..modules.kinds import MATRIX
from ..operations.decompositions import eigenvectors

# Gradients of examples that are held at once, as numbers.
_ROOM = 2**24


class Basis(NamedTuple):
    """U_A and U_B."""

    inputs: Tensor
    slopes: Tensor


def eigenbasis(factors: Sequence[Tensor]) -> Basis:
    """Return U_A and U_B of A and B."""
    return Basis(*(eigenvectors(settled(factor)) for factor in factors))


def moments(seen: Seen, basis: Basis) -> Tensor:
    """Return S of a mini-batch in a basis."""
    kind, members = MATRIX[seen.layer.kind], seen.members
    columns = kind.columns(seen) @ basis.inputs.unsqueeze(-3)
    rows = kind.rows(seen) @ basis.slopes.unsqueeze(-3).unsqueeze(members)
    weights = seen.weights.to(columns.dtype)[..., None, :, None]  # (*, 1, n, 1)
    if columns.shape[-2] == 1:  # the square of an outer product is that of squares
        squares = rows.squeeze(-2).square().sum(dim=members) * weights
        return squares.mT @ columns.squeeze(-2).square()
    return torch.stack([_squares(each, columns, weights) for each in rows.unbind(members)]).sum(dim=0)


def _squares(rows: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    """Return the weighed sum of the squared gradients of examples, so many at once as there is room for."""
    room = max(1, _ROOM * rows.shape[-3] // max(1, rows[..., 0, :].numel() * columns.shape[-1]))
    parts = zip(
        torch.split(rows, room, dim=-3),
        torch.split(columns, room, dim=-3),
        torch.split(weights, room, dim=-2),
        strict=True,
    )
    found = [((row.mT @ column).square() * weight[..., None]).sum(dim=-3) for row, column, weight in parts]
    return torch.stack(found).sum(dim=0)


def carried(moments: Tensor, old: Basis, new: Basis) -> Tensor:
    """Return what moments in an old basis are in a new one: the diagonal there of what was diagonal before."""
    squares = [(after.mT @ before).square() for after, before in zip(new, old, strict=True)]
    return squares[1] @ moments @ squares[0].mT


def apply(basis: Basis, scale: Tensor, layer: Layer, grads: Tensors, members: int) -> list[Tensor]:
    """Return the layer's gradients, each number of them divided in the eigenbasis by that of the scale (*, G, o, d)."""
    kind, (inputs, slopes) = MATRIX[layer.kind], basis
    turned = slopes.mT @ kind.join(layer, grads, members) @ inputs
    return kind.split(layer, slopes @ (turned / scale) @ inputs.mT, grads)
