"""A convolution over one, two or three axes: a linear layer over patches, the same at each position of the output.

Inputs (*, n, channels, ...) are cut into patches as the kernel lies, with stride, padding, dilation and groups.
"""

import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from ..layers import Layer, Seen, Tensors
from . import linear


def columns(seen: Seen) -> Tensor:
    """Return patches (*, G, n, t, d), d running over the channels of a group and the kernel.

    In memory examples and positions come last, so that patches are copied in the longest runs.
    """
    members, settings = seen.members, seen.layer.settings
    found = patches(seen.inputs.flatten(0, members), seen.layer)  # (m, channels, positions, kernel)
    groups, front = settings["groups"], seen.inputs.shape[: members + 1]
    grouped = found.reshape(*front, groups, found.shape[1] // groups, *found.shape[2:])
    group, channels, axes = members + 1, members + 2, len(settings["kernel"])
    positions, kernel = (range(first, first + axes) for first in (channels + 1, channels + 1 + axes))
    turned = grouped.permute(*range(members), group, channels, *kernel, members, *positions)
    flat = turned.flatten(-axes).flatten(members + 1, members + 1 + axes)  # (*, G, d, n, t)
    return linear.with_ones(seen.layer, flat, axis=-3).movedim(-3, -1)


def patches(inputs: Tensor, layer: Layer) -> Tensor:
    """Return a view of inputs (m, channels, ...) as (m, channels, positions, kernel), which have as many axes each."""
    settings = layer.settings
    padding = [amount for pair in reversed(settings["padding"]) for amount in pair]
    found = F.pad(inputs, padding) if any(padding) else inputs
    kernel = settings["kernel"]
    for axis, (size, stride, reach) in enumerate(zip(kernel, settings["stride"], settings["dilation"], strict=True)):
        found = found.unfold(axis + 2, reach * (size - 1) + 1, stride)[..., ::reach]
    return found


def rows(seen: Seen) -> Tensor:
    """Return slopes (*, c, G, n, t, o)."""
    members, slopes, groups = seen.members, seen.slopes, seen.layer.settings["groups"]
    front = slopes.shape[: members + 2]  # (*, c, n)
    grouped = slopes.reshape(*front, groups, slopes.shape[members + 2] // groups, -1)  # (*, c, n, G, o, t)
    return grouped.movedim(members + 1, -2).contiguous().movedim(-3, -1)


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
