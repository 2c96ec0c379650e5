"""A linear layer: inputs (*, n, ..., i), outputs (*, n, ..., o); axes between are positions, at which it is the same."""

import torch
from torch import Tensor

from ..layers import Layer, Seen, Tensors


def columns(seen: Seen) -> Tensor:
    """Return inputs (*, 1, n, t, d)."""
    inputs = seen.inputs
    members = seen.members
    flat = inputs.reshape(*inputs.shape[: members + 1], -1, inputs.shape[-1])
    return with_ones(seen.layer, flat).unsqueeze(members)


def rows(seen: Seen) -> Tensor:
    """Return slopes (*, c, 1, n, t, o)."""
    slopes = seen.slopes
    members = seen.members
    return slopes.reshape(*slopes.shape[: members + 2], -1, slopes.shape[-1]).unsqueeze(members + 1)


def join(layer: Layer, tensors: Tensors, members: int) -> Tensor:
    """Return weight (*, o, i) and bias (*, o), or their gradients, as (*, 1, o, d)."""
    return with_bias(layer, tensors).unsqueeze(members)


def split(layer: Layer, matrix: Tensor, like: Tensors) -> list[Tensor]:
    """Return weight and bias, shaped as `like`, of (*, 1, o, d)."""
    if layer.bias is None or layer.weight is None:
        return [matrix.reshape(like[0].shape)]
    return [matrix[..., :-1].reshape(like[0].shape), matrix[..., -1].reshape(like[1].shape)]


def widths(layer: Layer, columns: int) -> list[int]:
    """Return how many of the matrix's columns are the weight's, and how many the bias's."""
    if layer.bias is None or layer.weight is None:
        return [columns]
    return [columns - 1, 1]


def parts(layer: Layer, units: Tensor) -> list[Tensor]:
    """Return weight and bias of the rows (..., outputs, d) of all groups; the weight of a convolution has its kernel's axes."""
    rows, kernel = units if layer.bias is None else units[..., :-1], layer.settings.get("kernel", ())
    found = [] if layer.weight is None else [rows.reshape(*rows.shape[:-1], -1, *kernel)]
    return found if layer.bias is None else [*found, units[..., -1]]


def with_bias(layer: Layer, tensors: Tensors) -> Tensor:
    """Return a weight (..., o, d) and bias (..., o), whichever there are, as one matrix."""
    if layer.bias is None:
        return tensors[0]
    bias = tensors[-1].unsqueeze(-1)
    return bias if layer.weight is None else torch.cat([tensors[0], bias], dim=-1)


def with_ones(layer: Layer, inputs: Tensor, axis: int = -1) -> Tensor:
    """Append to inputs, d along an axis, the bias's own, 1; without a weight it is the only one."""
    if layer.bias is None:
        return inputs
    ones = torch.ones_like(inputs.narrow(axis, 0, 1))
    return ones if layer.weight is None else torch.cat([inputs, ones], dim=axis)
