"""A convolution over one, two or three axes: a linear layer over patches, the same at each position of the output.

Inputs (*, n, channels, ...) are cut into patches as the kernel lies, with stride, padding, dilation and groups.
"""

import math

import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from ..layers import Layer, Seen, Tensors
from . import linear


def columns(seen: Seen) -> Tensor:
    """Return patches (*, G, n, t, d), d running over the channels of a group and the kernel."""
    members, settings = seen.members, seen.layer.settings
    front = seen.inputs.shape[: members + 1]
    found = patches(seen.inputs.flatten(0, members), seen.layer)  # (m, channels, t, kernel)
    groups, channels = settings["groups"], found.shape[1] // settings["groups"]
    grouped = found.reshape(*front, groups, channels, *found.shape[2:])  # (*, n, G, channels, t, kernel)
    flat = grouped.movedim(-3, -2).flatten(-2)  # (*, n, G, t, channels * kernel)
    return linear.with_ones(seen.layer, flat).transpose(members, members + 1)


def patches(inputs: Tensor, layer: Layer) -> Tensor:
    """Return inputs (m, channels, ...) as (m, channels, positions, size of the kernel)."""
    settings = layer.settings
    padding = [amount for pair in reversed(settings["padding"]) for amount in pair]
    found = F.pad(inputs, padding) if any(padding) else inputs
    kernel = settings["kernel"]
    for axis, (size, stride, reach) in enumerate(zip(kernel, settings["stride"], settings["dilation"], strict=True)):
        found = found.unfold(axis + 2, reach * (size - 1) + 1, stride)[..., ::reach]
    return found.reshape(*inputs.shape[:2], -1, math.prod(kernel))


def rows(seen: Seen) -> Tensor:
    """Return slopes (*, c, G, n, t, o)."""
    members, slopes, groups = seen.members, seen.slopes, seen.layer.settings["groups"]
    front = slopes.shape[: members + 2]  # (*, c, n)
    grouped = slopes.reshape(*front, groups, slopes.shape[members + 2] // groups, -1)  # (*, c, n, G, o, t)
    return grouped.mT.transpose(members + 1, members + 2)


def join(layer: Layer, tensors: Tensors, members: int) -> Tensor:
    """Return weight (*, channels out, ...) and bias as (*, G, o, d)."""
    groups = layer.settings["groups"]
    flat = [tensor.flatten(members + 1) if tensor.ndim > members + 1 else tensor for tensor in tensors]
    return linear.with_bias(
        layer, [part.reshape(*part.shape[:members], groups, -1, *part.shape[members + 1 :]) for part in flat]
    )


def split(layer: Layer, matrix: Tensor, like: Tensors) -> list[Tensor]:
    """Return weight and bias, shaped as `like`, of (*, G, o, d)."""
    return linear.split(layer, matrix, like)
