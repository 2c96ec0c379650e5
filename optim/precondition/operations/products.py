"""Curvature as what it does to vectors: products over rows, all parameters of a member one after the other.

Rows are (*, d), or many of them (c, *, d); see `layers` for *.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from ..batch import Looked
from ..layers import Tensors

Product: TypeAlias = Callable[[Tensor], Tensor]
# By their names in the catalog.
GAUSS_NEWTON, HESSIAN = CURVATURES = ("gauss_newton", "hessian")
# Vectors that are multiplied in one go.
_TOGETHER = 64


def joined(tensors: Tensors, axes: int) -> Tensor:
    """Return tensors that have so many `axes` in front of a parameter's own as rows."""
    return torch.cat([each.reshape(*each.shape[:axes], -1) for each in tensors], dim=-1)


def split(rows: Tensor, like: Tensors, members: int) -> list[Tensor]:
    """Cut rows into tensors of the shapes of `like`, which has so many member axes."""
    shapes = [each.shape[members:] for each in like]
    parts = torch.split(rows, [shape.numel() for shape in shapes], dim=-1)
    return [
        part.reshape((*rows.shape[:-1], *shape)).to(each.dtype)
        for part, shape, each in zip(parts, shapes, like, strict=True)
    ]


def product_of(batch: Looked, curvature: str) -> Product:
    """Return the product with a mini-batch's curvature, one of `CURVATURES`, by rows."""
    multiply = {HESSIAN: batch.product, GAUSS_NEWTON: batch.gauss_newton}[curvature]
    params, members = batch.params, batch.weights.ndim - 1
    return lambda rows: joined(multiply(split(rows, params, members)), rows.ndim - 1)


def dense(product: Product, like: Tensor) -> Tensor:
    """Return the matrix (*, d, d) that a product multiplies rows such as `like` (*, d) by: its symmetric part."""
    identity = torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
    axes = (1,) * (like.ndim - 1)
    columns = [
        product(rows.reshape(len(rows), *axes, -1).expand(-1, *like.shape)) for rows in torch.split(identity, _TOGETHER)
    ]
    matrix = torch.cat(columns).movedim(0, -1)
    return (matrix + matrix.mT) / 2
