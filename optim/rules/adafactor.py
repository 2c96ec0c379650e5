"""Adafactor: squared gradients of a matrix kept as one mean a row and one a column, and steps relative to its size.

    b      = t^beta2_decay                                                           t from 1
    R     <- (1 - b) R + b mean of g^2 along each row                C likewise along each column
    V      = R C / max(mean of R, eps1)
    u      = g / sqrt(max(V, eps1^2))
    theta <- theta - lr weight_decay theta - max(eps2, rms(theta)) min(lr, 1 / sqrt(t)) u / max(1, rms(u) / d)

A parameter with more axes than two is a stack of matrices of its last two; one with fewer keeps V <- (1 - b) V + b g^2
whole. An `eps1` of 0 stands for the machine epsilon of the parameter's dtype.

Source: Shazeer and Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, 2018, without momentum; as
torch.optim.Adafactor, whose eps is (eps1, eps2).
Shapes: options and the step count of shape () or (P,) against parameters of shape (...) or (P, ...); R is of shape
(..., rows, 1), C of shape (..., 1, columns).
Use it for large models where memory for optimizer state is short.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..links.decay import decoupled
from ..transform import Hyper, Rule, Tensors, align, blend, chain, count, within

_MATRIX = 2


class AdafactorState(NamedTuple):
    """Steps taken so far and mean squared gradients: of rows and of columns for matrices, of elements for others."""

    step: Tensor
    rows: list[Tensor]
    columns: list[Tensor]
    square: list[Tensor]


def _init(params: Tensors) -> AdafactorState:
    empty = [param.new_zeros(0) for param in params]
    rows, columns, square = list(empty), list(empty), list(empty)
    for index, param in enumerate(params):
        if param.ndim >= _MATRIX:
            rows[index] = torch.zeros_like(param[..., :1], memory_format=torch.contiguous_format)
            columns[index] = torch.zeros_like(param[..., :1, :], memory_format=torch.contiguous_format)
        else:
            square[index] = torch.zeros_like(param)
    return AdafactorState(count(), rows, columns, square)


def _update(
    grads: Tensors, state: AdafactorState, params: Tensors, hyper: Hyper
) -> tuple[list[Tensor], AdafactorState]:
    step = state.step + 1
    past = 1 - step ** hyper["beta2_decay"]
    rate = torch.minimum(hyper["lr"], step**-0.5)
    rows, columns, square = list(state.rows), list(state.columns), list(state.square)
    updates = []
    for index, (grad, param) in enumerate(zip(grads, params, strict=True)):
        eps1 = _floor(hyper["eps1"], grad)
        if len(within(rate.ndim, grad)) >= _MATRIX:
            energy = grad.square()
            rows[index] = blend(rows[index], energy.mean(dim=-1, keepdim=True), past)
            columns[index] = blend(columns[index], energy.mean(dim=-2, keepdim=True), past)
            variance = _outer(rows[index], columns[index], eps1)
        else:
            variance = square[index] = blend(square[index], grad.square(), past)
        direction = grad / torch.maximum(variance, align(eps1.square(), variance)).sqrt()
        size = torch.maximum(hyper["eps2"], _rms(param, rate.ndim))
        clipped = (_rms(direction, rate.ndim) / hyper["d"]).clamp(min=1)
        updates.append(direction * align(-rate * size / clipped, direction))
    return updates, AdafactorState(step, rows, columns, square)


def _floor(eps1: Tensor, like: Tensor) -> Tensor:
    return torch.where(eps1 > 0, eps1, torch.finfo(like.dtype).eps)


def _outer(rows: Tensor, columns: Tensor, eps1: Tensor) -> Tensor:
    """Return the matrices of rank one whose row and column means are those given."""
    mean = rows.mean(dim=-2, keepdim=True)
    estimate: Tensor = rows * columns / torch.maximum(mean, align(eps1, mean))
    return estimate


def _rms(tensor: Tensor, members: int) -> Tensor:
    """Return the root mean square of each member: shape () or (P,), float64."""
    axes = within(members, tensor)
    if not axes:
        return tensor.abs().double()
    size = math.prod(tensor.shape[members:])
    norm: Tensor = torch.linalg.vector_norm(tensor, dim=axes)
    return norm.double() / math.sqrt(max(size, 1))


RULE = chain(Rule(_init, _update, by_tensor=True), decoupled)
