"""Linear layers with an activation between them: what an MLP is, and the end of other networks."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from training.networks.base import Params, layers
from training.networks.initialisation import RECTIFIED, Part, linear

Activation: TypeAlias = Callable[[Tensor], Tensor]

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {"relu": F.relu, "tanh": torch.tanh, "gelu": F.gelu, "silu": F.silu}
)
DEFAULT_ACTIVATION = "relu"
MATRIX_AXES = 2
# What the rectifier and its smooth relatives do to the variance; tanh is the identity at zero.
GAINS: Mapping[str, float] = MappingProxyType({"relu": RECTIFIED, "tanh": 1.0, "gelu": RECTIFIED, "silu": RECTIFIED})


def dense(widths: Sequence[int], *, gain: float = RECTIFIED) -> list[Part]:
    """Return the parameters of layers from `widths[0]` inputs to `widths[-1]` outputs."""
    pairs = list(pairwise(widths))
    return [
        part
        for number, (inputs, outputs) in enumerate(pairs, start=1)
        for part in linear(outputs, inputs, gain=gain if number < len(pairs) else 1.0)
    ]


def apply_dense(params: Params, inputs: Tensor, activation: Activation = F.relu) -> Tensor:
    """Apply such layers; nothing follows the last one. They may be stacked, and the inputs (P, n, ...) with them."""
    if params[0].ndim > MATRIX_AXES:
        return _apply_stacked(params, inputs, activation)
    *inner, (weight, bias) = layers(params)
    for inner_weight, inner_bias in inner:
        inputs = activation(F.linear(inputs, inner_weight, inner_bias))
    return F.linear(inputs, weight, bias)


def _apply_stacked(params: Params, inputs: Tensor, activation: Activation) -> Tensor:
    """Apply layers of P members, examples as columns: so the gradients of all tensors come out in one piece each.

    What vmap makes of F.linear takes half as long again, and twice as long for few members.
    """
    *inner, (weight, bias) = layers(params)
    columns = inputs.mT
    for inner_weight, inner_bias in inner:
        columns = activation(torch.baddbmm(inner_bias.unsqueeze(-1), inner_weight, columns))
    return torch.baddbmm(bias.unsqueeze(-1), weight, columns).mT
