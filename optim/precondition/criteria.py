"""Losses as their curvature by the model's outputs: vectors whose outer products are the Hessian, on the mean or in sum.

Propagated back through the model in place of the loss's own slopes, `sampled` vectors give the Fisher information by Monte
Carlo, `exact` ones the Fisher exactly, which for these losses is the generalised Gauss-Newton matrix too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from . import draws


@dataclass(frozen=True, slots=True)
class Criterion:
    """Of outputs (*, n, ..., k): `sampled(outputs, key, number)` a random vector like them, `exact` all (c, *, n, ..., k).

    `key` (*,) and the number of the sample decide what is drawn. Torch's sum of the loss is over rows, and where
    `outputs_count` over the outputs of each.
    """

    sampled: Callable[[Tensor, Tensor, int], Tensor]
    exact: Callable[[Tensor], Tensor]
    outputs_count: bool = False

    def terms(self, outputs: Tensor) -> int:
        """Return of how many terms torch's mean of the loss is the mean, of one model's outputs (n, ..., k)."""
        return outputs.numel() if self.outputs_count else outputs.shape[:-1].numel()


def _classes(outputs: Tensor, key: Tensor, number: int) -> Tensor:
    """Draw a class of each row from the model's own distribution; the slope of its loss is softmax less one-hot."""
    members = key.ndim
    shares = outputs.softmax(dim=-1)
    rows = shares.shape[members:-1].numel()
    drawn = draws.uniform(key, rows, salt=number).reshape(*shares.shape[:-1], 1).to(shares.dtype)
    classes = (shares.cumsum(dim=-1) < drawn).sum(dim=-1).clamp(max=shares.shape[-1] - 1)
    vectors: Tensor = shares - F.one_hot(classes, shares.shape[-1]).to(shares.dtype)
    return vectors


def _every_class(outputs: Tensor) -> Tensor:
    shares = outputs.softmax(dim=-1)
    classes = torch.eye(shares.shape[-1], dtype=shares.dtype, device=shares.device)
    apart = shares.unsqueeze(0) - classes.reshape(-1, *(1,) * (shares.ndim - 1), shares.shape[-1])
    vectors: Tensor = apart * shares.movedim(-1, 0).unsqueeze(-1).sqrt()
    return vectors


def _signs(outputs: Tensor, key: Tensor, number: int) -> Tensor:
    """Draw -1 or 1 for each output, whose outer products are on the mean the identity; the Hessian is it over k/2."""
    count = outputs.shape[key.ndim :].numel()
    drawn = draws.signs(key, count, salt=number).reshape(outputs.shape).to(outputs.dtype)
    vectors: Tensor = drawn * (2 / outputs.shape[-1]) ** 0.5
    return vectors


def _every_output(outputs: Tensor) -> Tensor:
    k = outputs.shape[-1]
    vectors = torch.eye(k, dtype=outputs.dtype, device=outputs.device) * (2 / k) ** 0.5
    found: Tensor = vectors.reshape(k, *(1,) * (outputs.ndim - 1), k).expand(k, *outputs.shape)
    return found


# Losses by their names: the cross-entropy of logits, and the squared error, which is the mean over outputs as torch's.
CRITERIA: Mapping[str, Criterion] = MappingProxyType(
    {
        "cross_entropy": Criterion(_classes, _every_class),
        "squared_error": Criterion(_signs, _every_output, outputs_count=True),
    }
)


def criterion(name: str) -> Criterion:
    """Return the criterion called `name`. Raise ValueError listing the valid names if there is none."""
    if name not in CRITERIA:
        raise ValueError(f"unknown loss {name!r}; valid: {', '.join(CRITERIA)}")
    return CRITERIA[name]
