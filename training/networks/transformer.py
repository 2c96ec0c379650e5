"""A small transformer encoder over tokens, or over the rows of a picture (Vaswani et al., Attention Is All You Need, 2017).

Normalisation comes before each part (Xiong et al., On Layer Normalization in the Transformer Architecture, 2020);
positions are learned; the mean over what is not padding goes through one linear layer.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from training.data.examples import Data
from training.networks.bags import PADDING, mean_over
from training.networks.base import Family, Network, Params, Spec, choice, size
from training.networks.initialisation import (
    DEFAULT_INITIALISATION,
    INITIALISATIONS,
    RECTIFIED,
    Part,
    draw,
    layer_norm,
    linear,
    lookup,
    named,
    names,
)

EXPANSION = 4  # of the width, within the fully connected part of a block
_BLOCK = 12  # parameters of a block


def _build(spec: Spec, data: Data) -> Network:
    width, depth, heads = (size(spec, field) for field in ("width", "depth", "heads"))
    if width % heads:
        raise ValueError(f"network.heads must divide network.width, and {heads} does not divide {width}")
    entry, length = _entry(data, width)
    parts = [*entry, *named("positions", lookup(length, width))]
    for number in range(1, depth + 1):
        parts += named(f"block{number}", _block(width))
    parts += [*named("norm", layer_norm(width)), *named("linear", linear(data.outputs, width))]

    def apply(params: Params, inputs: Tensor) -> Tensor:
        sequence, counted = _sequence(params, inputs, data)
        sequence = sequence + params[len(entry)]
        blocks = params[len(entry) + 1 : -4]
        for start in range(0, len(blocks), _BLOCK):
            sequence = _apply_block(blocks[start : start + _BLOCK], sequence, counted, heads)
        scale, shift, weight, bias = params[-4:]
        return F.linear(mean_over(counted, F.layer_norm(sequence, (width,), scale, shift)), weight, bias)

    return Network(partial(draw, parts, choice(spec, "initialisation", INITIALISATIONS)), apply, names=names(parts))


def _entry(data: Data, width: int) -> tuple[list[Part], int]:
    """Return what turns an input into a sequence of vectors, and the sequence's length."""
    if data.vocabulary is not None:
        return named("tokens", lookup(data.vocabulary, width)), data.features
    if data.image is None:
        raise ValueError(f"network transformer needs tokens or pictures, and {data.name} has neither")
    channels, height, across = data.image
    return named("rows", linear(width, channels * across)), height


def _sequence(params: Params, inputs: Tensor, data: Data) -> tuple[Tensor, Tensor]:
    """Return vectors (n, length, width), and tokens (n, length) that are 0 where a place does not count."""
    if data.image is None:
        return F.embedding(inputs, params[0]), inputs
    rows = inputs.reshape(-1, *data.image).transpose(1, 2).flatten(2)  # (n, height, channels * width)
    return F.linear(rows, params[0], params[1]), torch.full_like(rows[..., 0], PADDING + 1)


def _block(width: int) -> list[Part]:
    inner = EXPANSION * width
    return [
        *named("norm1", layer_norm(width)),
        *named("projection", linear(3 * width, width)),
        *named("attended", linear(width, width)),
        *named("norm2", layer_norm(width)),
        *named("linear1", linear(inner, width, gain=RECTIFIED)),
        *named("linear2", linear(width, inner)),
    ]


def _apply_block(params: Params, sequence: Tensor, counted: Tensor, heads: int) -> Tensor:
    width = sequence.shape[-1]
    normal = F.layer_norm(sequence, (width,), params[0], params[1])
    attended = _attend(F.linear(normal, params[2], params[3]), counted, heads)
    sequence = sequence + F.linear(attended, params[4], params[5])
    normal = F.layer_norm(sequence, (width,), params[6], params[7])
    inner = F.gelu(F.linear(normal, params[8], params[9]))
    return sequence + F.linear(inner, params[10], params[11])


def _attend(projected: Tensor, counted: Tensor, heads: int) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v of `projected` (n, length, 3 * width), head by head; padding is not seen."""
    split = projected.reshape(*projected.shape[:-1], 3, heads, -1)
    parts = split.movedim(-3, 0).transpose(-3, -2)  # (3, n, heads, length, d)
    query, key, value = parts[0], parts[1], parts[2]
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    hidden = (counted == PADDING)[..., None, None, :]
    # Not minus infinity: a text that is all padding sees everything instead of nothing, which would be NaN.
    weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(dim=-1)
    attended: Tensor = weights @ value
    return attended.transpose(-3, -2).flatten(-2)


TRANSFORMER = Family(
    {"width": 32, "depth": 2, "heads": 4, "initialisation": DEFAULT_INITIALISATION},
    takes=("tokens", "pictures"),
    build=_build,
)
