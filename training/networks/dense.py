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
    """Apply such layers; nothing follows the last one."""
    *inner, (weight, bias) = layers(params)
    for inner_weight, inner_bias in inner:
        inputs = activation(F.linear(inputs, inner_weight, inner_bias))
    return F.linear(inputs, weight, bias)
