"""Judges a candidate item by what else the user has: the first token is the candidate, the others are the user's bag.

The candidate's vector, the mean of the bag's, and their elementwise product go through fully connected layers (as in He
et al., Neural Collaborative Filtering, 2017, with a bag in the place of a user's own vector).
"""

from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from training.data.examples import Data
from training.networks.bags import mean_vector, vocabulary
from training.networks.base import Family, Network, Params, Spec, choice, size, sizes
from training.networks.dense import apply_dense, dense
from training.networks.initialisation import DEFAULT_INITIALISATION, INITIALISATIONS, draw, lookup, named, names

LEAST_TOKENS = 2


def _build(spec: Spec, data: Data) -> Network:
    items, width = vocabulary(data, "recommender"), size(spec, "embedding")
    if data.features < LEAST_TOKENS:
        raise ValueError(f"network recommender needs a candidate and a bag, and {data.name} has one token an example")
    parts = [
        *named("candidates", lookup(items, width)),
        *named("bag", lookup(items, width)),
        *dense([3 * width, *sizes(spec, "hidden"), data.outputs]),
    ]

    def apply(params: Params, inputs: Tensor) -> Tensor:
        candidate, bag = F.embedding(inputs[:, 0], params[0]), mean_vector(inputs[:, 1:], params[1])
        return apply_dense(params[2:], torch.cat([candidate, bag, candidate * bag], dim=-1))

    return Network(partial(draw, parts, choice(spec, "initialisation", INITIALISATIONS)), apply, names=names(parts))


RECOMMENDER = Family(
    {"embedding": 16, "hidden": (32,), "initialisation": DEFAULT_INITIALISATION}, takes=("tokens",), build=_build
)
