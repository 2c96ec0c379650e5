"""A table of vectors: inputs are tokens (*, n, ...), outputs their vectors (*, n, ..., e). The weight (V, e) is a matrix whose
input is one of V places at each position; a unit is one token's vector.
"""  # noqa: D205 - one sentence

import torch
from torch import Tensor

from ..layers import Layer, Seen, Tensors


def tokens(seen: Seen) -> Tensor:
    """Return tokens (*, n, t) at the t positions of each example."""
    return seen.inputs.reshape(*seen.inputs.shape[: seen.members + 1], -1)


def counted(seen: Seen) -> Tensor:
    """Say of each position (*, n, t) whether its token's vector is learned there: it is not where it is padding."""
    found = tokens(seen)
    padding = seen.layer.settings["padding"]
    return torch.ones_like(found, dtype=torch.bool) if padding is None else found != padding


def slopes(seen: Seen) -> Tensor:
    """Return slopes (*, c, n, t, e), zero where nothing is learned."""
    members, found = seen.members, seen.slopes
    flat = found.reshape(*found.shape[: members + 2], -1, found.shape[-1])
    return flat * counted(seen).unsqueeze(members).unsqueeze(-1)


def units(seen: Seen) -> Tensor:
    """Return the gradients of each example (*, c, n, V, e)."""
    steep = slopes(seen)
    rows = tokens(seen).unsqueeze(seen.members).unsqueeze(-1).expand_as(steep)
    table = steep.new_zeros(*steep.shape[:-2], seen.layer.settings["tokens"], steep.shape[-1])
    return table.scatter_add(-2, rows, steep)


def join(layer: Layer, tensors: Tensors, front: int) -> Tensor:
    """Return the weight as it is."""
    del layer, front
    return tensors[0]


def split(layer: Layer, units: Tensor) -> list[Tensor]:
    """Return the weight as it is."""
    del layer
    return [units]
