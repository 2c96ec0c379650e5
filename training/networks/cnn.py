"""3 x 3 convolutions with rectifiers, each followed by 2 x 2 maximum pooling while the picture is larger than 2 x 2, then
one linear layer."""  # noqa: D205, D209 - one sentence

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

KERNEL = 3
SMALLEST_POOLED = 2  # a picture of this side is not pooled further


def _build(spec: Spec, data: Data) -> Network:
    if data.image is None:
        raise ValueError(f"network cnn needs pictures, and {data.name} has none")
    image = data.image
    depth, height, width = image
    counts = [depth, *sizes(spec, "channels")]
    for _ in counts[1:]:
        height, width = _pooled(height, width)
    parts = []
    for number, (into, out) in enumerate(pairwise(counts), start=1):
        parts += named(f"conv{number}", convolution(out, into, KERNEL, KERNEL))
    parts += named("linear", linear(data.outputs, counts[-1] * height * width))

    def apply(params: Params, inputs: Tensor) -> Tensor:
        *inner, (weight, bias) = layers(params)
        picture = inputs.reshape(-1, *image)
        for inner_weight, inner_bias in inner:
            picture = F.relu(F.conv2d(picture, inner_weight, inner_bias, padding=KERNEL // 2))
            if _pooled(*picture.shape[2:]) != tuple(picture.shape[2:]):
                picture = F.max_pool2d(picture, 2)
        return F.linear(picture.flatten(1), weight, bias)

    return Network(partial(draw, parts, choice(spec, "initialisation", INITIALISATIONS)), apply, names=names(parts))


def _pooled(height: int, width: int) -> tuple[int, int]:
    return (height // 2, width // 2) if min(height, width) > SMALLEST_POOLED else (height, width)


CNN = Family({"channels": (), "initialisation": DEFAULT_INITIALISATION}, takes=("pictures",), build=_build)
