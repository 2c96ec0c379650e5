"""The diagonal of a layer's curvature: of each parameter the mean square of single examples' gradients.

    D = sum_c sum_n w_n g^2        (D + damping)^-1 g

Source: Amari, Natural gradient works efficiently in learning, 1998; its diagonal as in Becker and LeCun, Improving the
convergence of back-propagation learning with second order methods, 1988. Shapes: units (*, U, k).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..layers import Layer, Seen, Tensors
from ..modules import embedding
from ..modules.kinds import MATRIX
from ..operations.gradients import join, rows, split
from .representation import Representation


def _zeros(layer: Layer, params: Tensors) -> tuple[Tensor]:
    return (torch.zeros_like(join(layer, params, 0)),)


def _identity(layer: Layer, params: Tensors) -> tuple[Tensor]:
    return (torch.ones_like(join(layer, params, 0)),)


def estimate(seen: Seen) -> tuple[Tensor]:
    """Return the diagonal (*, U, k)."""
    if seen.layer.kind in MATRIX:
        found = _of_outer_products(seen)
        if found is not None:
            return (found,)
    if seen.layer.kind == "embedding":
        return (_of_tokens(seen),)
    return (rows(seen).square().sum(dim=seen.members),)


def _of_outer_products(seen: Seen) -> Tensor | None:
    """Return the diagonal of a matrix with one position: the square of an outer product is that of squares."""
    kind, members = MATRIX[seen.layer.kind], seen.members
    columns, slopes = kind.columns(seen), kind.rows(seen)
    if columns.shape[-2] != 1:
        return None
    weights = seen.weights.to(slopes.dtype).reshape(*seen.weights.shape[:members], 1, -1, 1)
    squares = slopes.squeeze(-2).square().sum(dim=members) * weights  # (*, G, n, o)
    return (squares.mT @ columns.squeeze(-2).square()).flatten(members, members + 1)


def _of_tokens(seen: Seen) -> Tensor:
    """Return the diagonal of a table without laying out its gradient by each example: a token's is summed where it stands."""
    members, tokens = seen.members, embedding.tokens(seen)
    slopes = embedding.slopes(seen)  # (*, c, n, t, e)
    same = (tokens.unsqueeze(-1) == tokens.unsqueeze(-2)).to(slopes.dtype)
    sums = same.unsqueeze(members) @ slopes
    shares = seen.weights.to(slopes.dtype).unsqueeze(-1) / same.sum(dim=-1)  # one sum stands at all places of its token
    squares = (sums.square().sum(dim=members) * shares.unsqueeze(-1)).flatten(members, members + 1)
    empty = slopes.new_zeros(*tokens.shape[:members], seen.layer.settings["tokens"], slopes.shape[-1])
    return empty.scatter_add(-2, tokens.flatten(members).unsqueeze(-1).expand_as(squares), squares)


def _inverse(blocks: Sequence[Tensor], damping: Tensor) -> tuple[Tensor]:
    (found,) = blocks
    return (1 / (found + damping.to(found.dtype).reshape(*damping.shape, 1, 1)),)


def _apply(inverse: Sequence[Tensor], layer: Layer, grads: Tensors, members: int) -> list[Tensor]:
    return split(layer, inverse[0] * join(layer, grads, members))


def dense(blocks: Sequence[Tensor]) -> Tensor:
    """Return the diagonal as a matrix (*, U k, U k)."""
    return torch.diag_embed(blocks[0].flatten(-2))


DIAGONAL = Representation(1, _zeros, _identity, estimate, _inverse, _apply, dense)
