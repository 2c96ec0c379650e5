"""Even polynomials over points on the unit sphere: what wide two-layer networks are proven to learn.

    y = x^T A x,  A symmetric with trace 0, drawn once

(Daniely, "Neural networks learning and memorization with (almost) no over-parameterization", NeurIPS 2020). Points are
uniform, or lie close to a few centers.
"""

import torch
from torch import Generator, Tensor

from training.data.examples import Data
from training.data.splitting import split_in_memory, standardised_targets
from training.tasks import REGRESSION

FEATURES = 16
EXAMPLES = 20_000
_SEED = 20_231_127
_CENTERS = 8
_WITHIN = 0.1  # deviation of a coordinate from its center's


def uniform(generator: Generator) -> Tensor:
    """Draw points (N, d), uniform on the sphere."""
    return _projected(torch.randn(EXAMPLES, FEATURES, generator=generator))


def clustered(generator: Generator) -> Tensor:
    """Draw points (N, d) on the sphere, each close to one of a few centers."""
    centers = _projected(torch.randn(_CENTERS, FEATURES, generator=generator))
    own = centers[torch.randint(_CENTERS, (EXAMPLES,), generator=generator)]
    return _projected(own + _WITHIN * torch.randn(own.shape, generator=generator))


def even_quadratic(name: str, *, clusters: bool = False) -> Data:
    """Return the data: float32 points, and y in training deviations from its training mean."""
    generator = Generator().manual_seed(_SEED)
    factor = torch.randn(FEATURES, FEATURES, generator=generator)
    matrix = factor + factor.T
    matrix -= torch.eye(FEATURES) * matrix.trace() / FEATURES
    points = (clustered if clusters else uniform)(generator)
    targets = ((points @ matrix) * points).sum(dim=1).double()
    train, val = standardised_targets(*split_in_memory(points, targets, by=None))
    return Data(name, REGRESSION, train, val, (FEATURES,), outputs=1)


def _projected(points: Tensor) -> Tensor:
    return torch.nn.functional.normalize(points)
