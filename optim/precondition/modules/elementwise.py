"""What multiplies or is added to each element alone: the scale and shift of a normalisation, and those that stand by themselves.

Inputs (*, n, ...) are what is scaled, which of a normalisation is its normalised input: taken as given, though those of
batch statistics depend on the other examples, and on what is learned before. A unit is an element with its scale and shift.
Settings: `shape` is a parameter's own, `beside` that in which it stands beside one example's outputs.
"""

import math

import torch
from torch import Tensor

from ..layers import Layer, Seen, Tensors


def units(seen: Seen) -> Tensor:
    """Return the gradients of each example (*, c, n, U, k): by the scale, the shift, or both."""
    layer, members = seen.layer, seen.members
    scales = [seen.slopes * seen.inputs.unsqueeze(members)] if layer.weight is not None else []
    shifts = [seen.slopes] if layer.bias is not None else []
    beside = layer.settings["beside"]
    return torch.stack([_summed(each, members + 2, beside) for each in (*scales, *shifts)], dim=-1)


def _summed(values: Tensor, front: int, beside: tuple[int, ...]) -> Tensor:
    """Sum (front, ...) over the axes along which a parameter is the same, to (front, U)."""
    shape = (1,) * (values.ndim - front - len(beside)) + beside
    return values.sum_to_size(*values.shape[:front], *shape).reshape(*values.shape[:front], math.prod(beside))


def join(layer: Layer, tensors: Tensors, front: int) -> Tensor:
    """Return scale and shift (front, ...), or gradients of them, as (front, U, k)."""
    del layer
    return torch.stack([tensor.reshape(*tensor.shape[:front], -1) for tensor in tensors], dim=-1)


def split(layer: Layer, units: Tensor) -> list[Tensor]:
    """Return scale and shift, whichever there are, of (..., U, k)."""
    return [part.reshape((*part.shape[:-1], *layer.settings["shape"])) for part in units.unbind(dim=-1)]
