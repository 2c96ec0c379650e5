"""The wide two-layer network f(x) = m^-1/2 sum_r a_r sigma(<w_r, x>), of which the first layer is trained.

Weights w (m, d) are standard normal, signs a (m, C) are 1 or -1 and stay; inputs x have length 1
(Song, Yang & Zhang, "Does preprocessing help training over-parameterized neural networks?", NeurIPS 2021).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from .activations import Activation, activated

# So many inner products are held at a time by the plain form.
_TILE = 2**22


@dataclass(frozen=True, slots=True)
class TwoLayer:
    """What stays the same: the activation with its threshold, and how many neurons a selective one keeps."""

    activation: Activation
    threshold: float
    most: int = 0

    def outputs(self, weights: Tensor, signs: Tensor, inputs: Tensor) -> Tensor:
        """Return f for inputs (n, d), as (n, C), from all inner products: the plain form.

        Neurons are taken a tile at a time. A selective activation has to see all at once, so examples are instead.
        """
        if self.activation.selective and len(inputs) * len(weights) > _TILE and len(inputs) > 1:
            few = max(1, _TILE // len(weights))
            return torch.cat([self.outputs(weights, signs, part) for part in torch.split(inputs, few)])
        tile = len(weights) if self.activation.selective else max(1, _TILE // max(1, len(inputs)))
        said = inputs.new_zeros(len(inputs), signs.shape[1])
        for rows, own in zip(torch.split(weights, tile), torch.split(signs, tile), strict=True):
            values = activated(self.activation, inputs @ rows.T, threshold=self.threshold, most=self.most)
            said = said + values @ own
        return said / math.sqrt(len(weights))


def gaussian(generator: Generator, width: int, features: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Draw weights (m, d) and signs (m, C), all independently."""
    weights = torch.randn(width, features, generator=generator)
    return weights, torch.randint(0, 2, (width, outputs), generator=generator).float() * 2 - 1


def paired(generator: Generator, width: int, features: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Draw half of the neurons, and the same once more with opposite signs: the network begins as zero everywhere.

    Raise ValueError for an odd width.
    """
    if width % 2:
        raise ValueError(f"paired initialisation needs an even width, got {width}")
    weights, signs = gaussian(generator, width // 2, features, outputs)
    return weights.repeat(2, 1), torch.cat([signs, -signs])


INITIALISATIONS: Mapping[str, Callable[[Generator, int, int, int], tuple[Tensor, Tensor]]] = MappingProxyType(
    {"gaussian": gaussian, "paired": paired}
)
