"""Kronecker factors of a table of vectors: inputs are one-hot, so that the factor A of theirs is the tokens' frequencies.

    a = sum_n w_n (1/t) sum_t 1[token]        B = sum_c sum_n w_n sum_t g g^T        C about diag(a) (x) B

Damping as of the other Kronecker factors, whose sources hold. Shapes: a (*, V), B (*, e, e).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..layers import Layer, Seen, Tensors
from ..modules import embedding
from .kronecker import Factors, inverse, ratio
from .representation import Representation


def _zeros(layer: Layer, params: Tensors) -> Factors:
    del layer
    tokens, width = params[0].shape
    return Factors(params[0].new_zeros(tokens), params[0].new_zeros(width, width))


def _identity(layer: Layer, params: Tensors) -> Factors:
    zeros = _zeros(layer, params)
    return Factors(torch.ones_like(zeros.inputs), torch.eye(len(zeros.slopes)).to(zeros.slopes))


def estimate(seen: Seen) -> Factors:
    """Return the factors of a table."""
    members, tokens = seen.members, embedding.tokens(seen)
    slopes = embedding.slopes(seen)  # (*, c, n, t, e)
    shares = seen.weights.to(slopes.dtype).unsqueeze(-1) / tokens.shape[-1] * embedding.counted(seen)
    empty = slopes.new_zeros(*tokens.shape[:members], seen.layer.settings["tokens"])
    frequencies = empty.scatter_add(-1, tokens.flatten(members), shares.flatten(members))
    roots = seen.weights.to(slopes.dtype).sqrt().reshape(*seen.weights.shape[:members], 1, -1, 1, 1)
    weighted = (slopes * roots).flatten(members, members + 2)
    return Factors(frequencies, weighted.mT @ weighted)


def _inverse(factors: Sequence[Tensor], damping: Tensor) -> Factors:
    frequencies, slopes = factors
    pi = ratio(frequencies.mean(dim=-1), slopes.diagonal(dim1=-2, dim2=-1).mean(dim=-1))
    root = damping.to(slopes.dtype).sqrt()
    return Factors(1 / (frequencies + (root * pi).unsqueeze(-1)), inverse(slopes, root / pi))


def _apply(inverses: Sequence[Tensor], layer: Layer, grads: Tensors, members: int) -> list[Tensor]:
    del layer, members
    return [inverses[0].unsqueeze(-1) * (grads[0] @ inverses[1])]


def dense(factors: Sequence[Tensor]) -> Tensor:
    """Return diag(a) (x) B as one matrix (*, V e, V e)."""
    frequencies, slopes = factors
    product = torch.diag_embed(frequencies)[..., :, None, :, None] * slopes[..., None, :, None, :]
    return product.flatten(-4, -3).flatten(-2)


TOKENS = Representation(2, _zeros, _identity, estimate, _inverse, _apply, dense)
