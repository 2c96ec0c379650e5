"""Activations that vanish below a threshold, which is what makes it worth knowing who is over it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Activation:
    """sigma(z) = z - b where z is over the threshold b, `squared` or not, else 0.

    A `selective` one leaves it to competition: of an example the k highest keep their z, all others are 0.
    """

    squared: bool = False
    selective: bool = False


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "shifted_relu": Activation(),
        "shifted_squared_relu": Activation(squared=True),
        "top_k": Activation(selective=True),
    }
)


def activated(activation: Activation, heights: Tensor, *, threshold: float, most: int) -> Tensor:
    """Return what all neurons say, from all inner products (B, m): the plain form, for autograd and for comparison.

    `threshold` is that of all but selective activations, `most` the k of those.
    """
    if activation.selective:
        best = heights.topk(most, dim=1)
        return torch.zeros_like(heights).scatter(1, best.indices, best.values)
    above = (heights - threshold).clamp(min=0.0)
    return above.square() if activation.squared else above
