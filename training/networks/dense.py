"""Linear layers with an activation between them: what an MLP is, and the end of other networks."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from training.networks.base import Params, Slopes, layers
from training.networks.initialisation import RECTIFIED, Part, linear, named
from training.tasks import Slope

Activation: TypeAlias = Callable[[Tensor], Tensor]

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {"relu": F.relu, "tanh": torch.tanh, "gelu": F.gelu, "silu": F.silu}
)
DEFAULT_ACTIVATION = "relu"
MATRIX_AXES = 2
# What the slope by the outputs is by the inputs, told by the outputs: as autograd computes it.
_SLOPES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "relu": lambda slope, outputs: torch.ops.aten.threshold_backward(slope, outputs, 0.0),
        "tanh": torch.ops.aten.tanh_backward,
    }
)
# What the rectifier and its smooth relatives do to the variance; tanh is the identity at zero.
GAINS: Mapping[str, float] = MappingProxyType({"relu": RECTIFIED, "tanh": 1.0, "gelu": RECTIFIED, "silu": RECTIFIED})


def dense(widths: Sequence[int], *, gain: float = RECTIFIED) -> list[Part]:
    """Return the parameters of layers from `widths[0]` inputs to `widths[-1]` outputs."""
    pairs = list(pairwise(widths))
    return [
        part
        for number, (inputs, outputs) in enumerate(pairs, start=1)
        for part in named(f"linear{number}", linear(outputs, inputs, gain=gain if number < len(pairs) else 1.0))
    ]


def apply_dense(params: Params, inputs: Tensor, activation: Activation = F.relu) -> Tensor:
    """Apply such layers; nothing follows the last one. They may be stacked, and the inputs (P, n, ...) with them."""
    if params[0].ndim > MATRIX_AXES:
        return _apply_stacked(params, inputs, activation)
    *inner, (weight, bias) = layers(params)
    for inner_weight, inner_bias in inner:
        inputs = activation(F.linear(inputs, inner_weight, inner_bias))
    return F.linear(inputs, weight, bias)


def dense_slopes(activation: str) -> Slopes | None:
    """Return the gradients of stacked layers written out; None for an activation whose slope its outputs do not tell."""
    if activation not in _SLOPES:
        return None
    apply, back = ACTIVATIONS[activation], _SLOPES[activation]

    @torch.no_grad()
    def slopes(
        params: Params, inputs: Tensor, targets: Tensor, weights: Tensor, slope: Slope
    ) -> tuple[Tensor, list[Tensor]]:
        pairs, taken = layers(params), [inputs.mT]
        for weight, bias in pairs[:-1]:
            taken.append(apply(torch.baddbmm(bias.unsqueeze(-1), weight, taken[-1])))
        weight, bias = pairs[-1]
        losses, steep = slope(torch.baddbmm(bias.unsqueeze(-1), weight, taken[-1]), targets)
        steep = steep * weights.unsqueeze(1)
        grads: list[Tensor] = []
        for place in range(len(pairs) - 1, -1, -1):
            grads = [torch.bmm(steep, taken[place].mT), steep.sum(dim=-1), *grads]
            if place:
                steep = back(torch.bmm(pairs[place][0].mT, steep), taken[place])
        return losses, grads

    return slopes


def _apply_stacked(params: Params, inputs: Tensor, activation: Activation) -> Tensor:
    """Apply layers of P members, examples as columns: so the gradients of all tensors come out in one piece each.

    What vmap makes of F.linear takes half as long again, and twice as long for few members.
    """
    *inner, (weight, bias) = layers(params)
    columns = inputs.mT
    for inner_weight, inner_bias in inner:
        columns = activation(torch.baddbmm(inner_bias.unsqueeze(-1), inner_weight, columns))
    return torch.baddbmm(bias.unsqueeze(-1), weight, columns).mT
