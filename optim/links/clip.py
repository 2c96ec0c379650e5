"""Clipping of gradients, each member of a population by its own gradients alone; a bound of 0 clips nothing.

    by_value   each element into [-clip_value, clip_value]
    by_norm    all parameters together: g <- g min(1, clip_norm / (|g| + 1e-6))
    by_layer   each parameter's gradient by its own norm, with clip_layer_norm

Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2013; the small term as
in torch.nn.utils.clip_grad_norm_.
Shapes: options of shape () or (P,) against gradients of shape (...) or (P, ...).
"""

import torch
from torch import Tensor

from ..transform import Hyper, Rule, Tensors, align, nothing, off, within

_TINY = 1e-6


def _by_value(grads: Tensors, state: tuple[()], params: Tensors, hyper: Hyper) -> tuple[list[Tensor], tuple[()]]:  # noqa: ARG001
    bound = hyper["clip_value"]
    if off(bound):
        return list(grads), state
    reach = torch.where(bound > 0, bound, torch.inf)
    ends = [align(reach, grad) for grad in grads]
    return [torch.maximum(torch.minimum(grad, end), -end) for grad, end in zip(grads, ends, strict=True)], state


def _by_norm(grads: Tensors, state: tuple[()], params: Tensors, hyper: Hyper) -> tuple[list[Tensor], tuple[()]]:  # noqa: ARG001
    bound = hyper["clip_norm"]
    if off(bound):
        return list(grads), state
    norms = [_norm(grad, bound) for grad in grads]
    factor = _factor(torch.stack(norms).square().sum(dim=0).sqrt(), bound)
    return [grad * align(factor, grad) for grad in grads], state


def _by_layer(grads: Tensors, state: tuple[()], params: Tensors, hyper: Hyper) -> tuple[list[Tensor], tuple[()]]:  # noqa: ARG001
    bound = hyper["clip_layer_norm"]
    if off(bound):
        return list(grads), state
    return [grad * align(_factor(_norm(grad, bound), bound), grad) for grad in grads], state


def _norm(grad: Tensor, bound: Tensor) -> Tensor:
    """Return the norm of a gradient, of each member by itself: shape () or (P,), float64."""
    axes = within(bound.ndim, grad)
    # A tensor without axes inside the member (a scalar parameter) is its own norm.
    return (torch.linalg.vector_norm(grad, dim=axes) if axes else grad.abs()).double()


def _factor(norm: Tensor, bound: Tensor) -> Tensor:
    return torch.where(bound > 0, (bound / (norm + _TINY)).clamp(max=1), 1.0)


by_value = Rule(nothing, _by_value)
by_norm = Rule(nothing, _by_norm)
by_layer = Rule(nothing, _by_layer, by_tensor=True)
