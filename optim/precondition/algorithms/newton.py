"""Newton's method with the whole Hessian H of all parameters together, and the same with its absolute value.

    newton:           g <- (H + damping I)^-1 g
    absolute_newton:  g <- (|H| + damping I)^-1 g,    |H| = V |L| V^T where H = V L V^T

The first is drawn to saddle points and maxima as to minima; the second leaves them, since it goes down wherever the
gradient does. Source: Dauphin et al., Identifying and attacking the saddle point problem in high-dimensional non-convex
optimization, 2014 (saddle-free Newton). H is (d, d), d being the number of all elements, of which there may be at most
`LARGEST`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...rules.matrices import precise
from ...transform import PRODUCTS, Hyper, Rule, Tensors
from ..batch import Looked
from ..layers import Layer
from ..matrices.spectral import spectral
from ..operations.products import HESSIAN, dense, joined, product_of, split
from .scheduled import Algorithm, PreconditionState, scheduled

LARGEST = 4096


def newton(layers: Sequence[Layer]) -> Rule[PreconditionState]:
    """Return the link that multiplies by the inverse of H."""
    del layers
    return _link(lambda values, damping: 1 / (values + damping))


def absolute_newton(layers: Sequence[Layer]) -> Rule[PreconditionState]:
    """Return the link that multiplies by the inverse of |H|."""
    del layers
    return _link(lambda values, damping: 1 / (values.abs() + damping))


def _link(reciprocal: Callable[[Tensor, Tensor], Tensor]) -> Rule[PreconditionState]:
    def invert(curvature: Sequence[Tensor], hyper: Hyper) -> list[Tensor]:
        (matrix,) = curvature
        damping = hyper["damping"].to(matrix.dtype).unsqueeze(-1)
        return [spectral(matrix, lambda values: reciprocal(values, damping))]

    return scheduled(Algorithm(_init, _estimate, invert, _apply), asking=(PRODUCTS,))


def _init(params: Tensors) -> tuple[list[Tensor], list[Tensor]]:
    """Raise ValueError for more parameters than the matrix may have rows."""
    row = joined(params, 0)
    if len(row) > LARGEST:
        raise ValueError(
            f"Newton's method takes the whole Hessian of at most {LARGEST} parameters, and there are {len(row)}: choose "
            "a smaller network or a method without matrices, such as hessian_free"
        )
    identity = torch.eye(len(row), dtype=precise(row.dtype), device=row.device)
    return [torch.zeros_like(identity)], [identity]


def _estimate(batch: Looked, state: PreconditionState, hyper: Hyper) -> list[Tensor]:
    del state, hyper
    rows = joined(batch.params, batch.weights.ndim - 1)
    matrix = dense(product_of(batch, HESSIAN), rows)
    return [matrix.to(precise(matrix.dtype))]


def _apply(inverse: Sequence[Tensor], grads: Tensors, hyper: Hyper, batch: Looked) -> list[Tensor]:
    del batch
    (matrix,), members = inverse, hyper["damping"].ndim
    rows = joined(grads, members).to(matrix.dtype).unsqueeze(-1)
    return split((matrix @ rows).squeeze(-1), grads, members)
