"""How parameters begin: weights drawn by one of several schemes, biases at zero.

He: deviation sqrt(gain / inputs of a unit) (He et al., Delving Deep into Rectifiers, 2015). Xavier: variance
2 / (inputs + outputs) (Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks,
2010). Orthogonal: rows or columns orthonormal, times sqrt(gain) (Saxe et al., Exact solutions to the nonlinear dynamics
of learning in deep linear neural networks, 2013). The gain is 2 where a rectifier or its like follows, else 1.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Generator, Tensor

RECTIFIED = 2.0
NORMAL_DEVIATION = 0.02


@dataclass(frozen=True, slots=True)
class Part:
    """One parameter tensor. A weight has as many `inputs` and `outputs`; a constant is set to `value` instead."""

    shape: tuple[int, ...]
    inputs: int = 0
    outputs: int = 0
    gain: float = 1.0
    value: float | None = None
    name: str = ""


Scheme: TypeAlias = Callable[[Part, Generator], Tensor]


def linear(outputs: int, inputs: int, *, gain: float = 1.0) -> list[Part]:
    """Return weight and bias of a linear layer."""
    return [_weight((outputs, inputs), inputs, outputs, gain), _constant("bias", outputs, 0.0)]


def convolution(outputs: int, inputs: int, *kernel: int, gain: float = RECTIFIED) -> list[Part]:
    """Return weight and bias of a convolution."""
    area = math.prod(kernel)
    weight = _weight((outputs, inputs, *kernel), inputs * area, outputs * area, gain)
    return [weight, _constant("bias", outputs, 0.0)]


def lookup(rows: int, width: int) -> list[Part]:
    """Return a table of vectors: the layers that they go into see each as one input.

    By He or Xavier each has a length near 1; by the orthogonal scheme, whose columns are orthonormal when there are more
    rows than columns, near sqrt(width / rows).
    """
    return [_weight((rows, width), width, width)]


def layer_norm(width: int) -> list[Part]:
    """Return scale and shift of a layer normalisation, which begin by changing nothing."""
    return [_constant("weight", width, 1.0), _constant("bias", width, 0.0)]


def named(name: str, parts: Iterable[Part]) -> list[Part]:
    """Return the parameters of a layer under its name, as torch names them: `linear1.weight`."""
    return [replace(part, name=f"{name}.{part.name}") for part in parts]


def names(parts: Iterable[Part]) -> tuple[str, ...]:
    """Return the parameters' names in their order."""
    return tuple(part.name for part in parts)


def draw(parts: Iterable[Part], scheme: Scheme, generator: Generator) -> list[Tensor]:
    """Return the parameters in their order."""
    return [
        scheme(part, generator) if part.value is None else torch.full(part.shape, part.value, dtype=torch.float32)
        for part in parts
    ]


def _weight(shape: tuple[int, ...], inputs: int, outputs: int, gain: float = 1.0) -> Part:
    return Part(shape, inputs, outputs, gain, name="weight")


def _constant(name: str, width: int, value: float) -> Part:
    return Part((width,), value=value, name=name)


def _normal(part: Part, generator: Generator, deviation: float) -> Tensor:
    return torch.randn(part.shape, generator=generator) * deviation


def _uniform(part: Part, generator: Generator, deviation: float) -> Tensor:
    """Draw from [-limit, limit], whose deviation is limit / sqrt(3)."""
    return (torch.rand(part.shape, generator=generator) * 2 - 1) * (deviation * math.sqrt(3))


def _he(part: Part) -> float:
    return math.sqrt(part.gain / part.inputs)


def _xavier(part: Part) -> float:
    return math.sqrt(2 / (part.inputs + part.outputs))


def _orthogonal(part: Part, generator: Generator) -> Tensor:
    rows, columns = part.shape[0], math.prod(part.shape[1:])
    basis, triangle = torch.linalg.qr(torch.randn(max(rows, columns), min(rows, columns), generator=generator))
    # Without the signs of the diagonal the distribution would not be uniform (Mezzadri, How to generate random matrices
    # from the classical compact groups, 2007).
    basis = basis * triangle.diagonal().sign()
    weight: Tensor = basis if rows >= columns else basis.T
    return weight.reshape(part.shape).contiguous() * math.sqrt(part.gain)


INITIALISATIONS: Mapping[str, Scheme] = MappingProxyType(
    {
        "he_normal": lambda part, generator: _normal(part, generator, _he(part)),
        "he_uniform": lambda part, generator: _uniform(part, generator, _he(part)),
        "xavier_normal": lambda part, generator: _normal(part, generator, _xavier(part)),
        "xavier_uniform": lambda part, generator: _uniform(part, generator, _xavier(part)),
        "normal": lambda part, generator: _normal(part, generator, NORMAL_DEVIATION),
        "orthogonal": _orthogonal,
    }
)
DEFAULT_INITIALISATION = "he_normal"
