"""The features as a signal in one dimension: convolutions of width 5 with rectifiers, each followed by maximum pooling of
width 2 while the signal is longer than 4; then one linear layer."""  # noqa: D205, D209 - one sentence

from functools import partial
from itertools import pairwise

import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from training.data.examples import Data
from training.networks.base import Family, Network, Params, Spec, choice, layers, sizes
from training.networks.initialisation import (
    DEFAULT_INITIALISATION,
    INITIALISATIONS,
    convolution,
    draw,
    linear,
    named,
    names,
)

KERNEL = 5
SHORTEST_POOLED = 4  # a signal of this length is not pooled further


def _build(spec: Spec, data: Data) -> Network:
    counts, length = [1, *sizes(spec, "channels")], data.features
    for _ in counts[1:]:
        length = _pooled(length)
    parts = []
    for number, (into, out) in enumerate(pairwise(counts), start=1):
        parts += named(f"conv{number}", convolution(out, into, KERNEL))
    parts += named("linear", linear(data.outputs, counts[-1] * length))

    def apply(params: Params, inputs: Tensor) -> Tensor:
        *inner, (weight, bias) = layers(params)
        signal = inputs.unsqueeze(1)
        for inner_weight, inner_bias in inner:
            signal = F.relu(F.conv1d(signal, inner_weight, inner_bias, padding=KERNEL // 2))
            if _pooled(signal.shape[2]) != signal.shape[2]:
                signal = F.max_pool1d(signal, 2)
        return F.linear(signal.flatten(1), weight, bias)

    return Network(partial(draw, parts, choice(spec, "initialisation", INITIALISATIONS)), apply, names=names(parts))


def _pooled(length: int) -> int:
    return length // 2 if length > SHORTEST_POOLED else length


SIGNAL = Family({"channels": (), "initialisation": DEFAULT_INITIALISATION}, takes=("numbers", "pictures"), build=_build)
