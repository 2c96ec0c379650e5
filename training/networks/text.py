"""Classifies a text by the mean of its tokens' vectors (Joulin et al., Bag of Tricks for Efficient Text Classification,
2016), followed by fully connected layers."""  # noqa: D205, D209 - one sentence

from functools import partial

from torch import Tensor

from training.data.examples import Data
from training.networks.bags import mean_vector, vocabulary
from training.networks.base import Family, Network, Params, Spec, choice, size, sizes
from training.networks.dense import apply_dense, dense
from training.networks.initialisation import DEFAULT_INITIALISATION, INITIALISATIONS, draw, lookup, named, names


def _build(spec: Spec, data: Data) -> Network:
    width = size(spec, "embedding")
    parts = named("tokens", lookup(vocabulary(data, "text"), width))
    parts += dense([width, *sizes(spec, "hidden"), data.outputs])

    def apply(params: Params, inputs: Tensor) -> Tensor:
        return apply_dense(params[1:], mean_vector(inputs, params[0]))

    return Network(partial(draw, parts, choice(spec, "initialisation", INITIALISATIONS)), apply, names=names(parts))


TEXT = Family(
    {"embedding": 32, "hidden": (), "initialisation": DEFAULT_INITIALISATION}, takes=("tokens",), build=_build
)
