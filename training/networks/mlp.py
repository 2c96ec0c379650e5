"""Fully connected layers; without hidden ones this is logistic or linear regression."""

from functools import partial

from torch import Tensor

from training.data.examples import Data
from training.networks.base import Family, Network, Params, Spec, choice, sizes
from training.networks.dense import ACTIVATIONS, DEFAULT_ACTIVATION, GAINS, apply_dense, dense, dense_slopes
from training.networks.initialisation import DEFAULT_INITIALISATION, INITIALISATIONS, draw, names


def _build(spec: Spec, data: Data) -> Network:
    activation = choice(spec, "activation", ACTIVATIONS)
    parts = dense([data.features, *sizes(spec, "hidden"), data.outputs], gain=GAINS[spec["activation"]])

    def apply(params: Params, inputs: Tensor) -> Tensor:
        return apply_dense(params, inputs, activation)

    init = partial(draw, parts, choice(spec, "initialisation", INITIALISATIONS))
    name = spec["activation"]
    return Network(init, apply, stacks=True, slopes=dense_slopes(name), activation=name, names=names(parts))


MLP = Family(
    {"hidden": (), "activation": DEFAULT_ACTIVATION, "initialisation": DEFAULT_INITIALISATION},
    takes=("numbers", "pictures"),
    build=_build,
)
