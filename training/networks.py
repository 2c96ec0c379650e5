"""Networks as pure pairs: `init(generator)` makes the parameters, `apply(params, inputs)` computes the logits.

Weights are drawn from He's normal distribution (He et al., Delving Deep into Rectifiers, 2015), those of the last
layer from one with half the variance, since no rectifier follows it; biases start at zero.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Generator, Tensor

from training.data import Data

Params: TypeAlias = Sequence[Tensor]

KERNEL = 3
SMALLEST_POOLED = 2  # a picture of this side is not pooled further


@dataclass(frozen=True, slots=True)
class Network:
    """`init` returns float32 parameters on the CPU, weight and bias of each layer in turn.

    `apply` maps inputs (N, features) to logits (N, classes).
    """

    init: Callable[[Generator], list[Tensor]]
    apply: Callable[[Params, Tensor], Tensor]


def build_network(spec: Mapping[str, Any], data: Data) -> Network:
    """Build the network that `spec` describes: `{kind: mlp, hidden: [...]}` or `{kind: cnn, channels: [...]}`.

    Raise ValueError for an unknown kind, listing the valid ones, for sizes that are not positive whole numbers, and
    for a cnn on data that are not pictures.
    """
    kind: Any = spec.get("kind")
    if kind not in NETWORKS:
        raise ValueError(f"unknown network kind {kind!r}; valid: {', '.join(NETWORKS)}")
    field, make = NETWORKS[kind]
    sizes = spec.get(field, ())
    if not isinstance(sizes, Sequence) or not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(f"network.{field} must be a list of positive whole numbers, got {sizes!r}")
    return make(sizes, data)


def mlp(hidden: Sequence[int], data: Data) -> Network:
    """Linear layers with rectifiers between them; without hidden layers this is logistic regression."""
    shapes = [(out, into) for into, out in pairwise([data.features, *hidden, data.classes])]

    def apply(params: Params, inputs: Tensor) -> Tensor:
        *layers, (weight, bias) = _layers(params)
        for inner_weight, inner_bias in layers:
            inputs = F.relu(F.linear(inputs, inner_weight, inner_bias))
        return F.linear(inputs, weight, bias)

    return Network(init=lambda generator: _draw(shapes, generator), apply=apply)


def cnn(channels: Sequence[int], data: Data) -> Network:
    """3 x 3 convolutions with rectifiers, each followed by 2 x 2 maximum pooling while the picture is larger than
    2 x 2, then one linear layer."""  # noqa: D205, D209 - one sentence
    if data.image is None:
        raise ValueError(f"network cnn needs pictures, and {data.name} has none; use mlp")
    image = data.image
    depth, height, width = image
    for _ in channels:
        height, width = _pooled(height, width)
    counts = [depth, *channels]
    shapes: list[tuple[int, ...]] = [(out, into, KERNEL, KERNEL) for into, out in pairwise(counts)]
    shapes.append((data.classes, counts[-1] * height * width))

    def apply(params: Params, inputs: Tensor) -> Tensor:
        *layers, (weight, bias) = _layers(params)
        picture = inputs.reshape(-1, *image)
        for inner_weight, inner_bias in layers:
            picture = F.relu(F.conv2d(picture, inner_weight, inner_bias, padding=KERNEL // 2))
            if _pooled(*picture.shape[2:]) != tuple(picture.shape[2:]):
                picture = F.max_pool2d(picture, 2)
        return F.linear(picture.flatten(1), weight, bias)

    return Network(init=lambda generator: _draw(shapes, generator), apply=apply)


# kind -> the field that holds its sizes, and the function that builds it
NETWORKS: Mapping[str, tuple[str, Callable[[Sequence[int], Data], Network]]] = MappingProxyType(
    {"mlp": ("hidden", mlp), "cnn": ("channels", cnn)}
)


def _pooled(height: int, width: int) -> tuple[int, int]:
    return (height // 2, width // 2) if min(height, width) > SMALLEST_POOLED else (height, width)


def _layers(params: Params) -> list[tuple[Tensor, Tensor]]:
    return list(zip(params[::2], params[1::2], strict=True))


def _draw(shapes: Sequence[tuple[int, ...]], generator: Generator) -> list[Tensor]:
    params = []
    for index, shape in enumerate(shapes):
        gain = 1.0 if index == len(shapes) - 1 else 2.0
        deviation = math.sqrt(gain / math.prod(shape[1:]))
        params += [torch.randn(shape, generator=generator) * deviation, torch.zeros(shape[0])]
    return params
