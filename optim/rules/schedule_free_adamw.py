"""Schedule-Free AdamW, with decoupled weight decay at the parameters that are trained.

    r     <- lr sqrt(1 - beta2^t)                                t from 1
    s     <- beta2 s + (1 - beta2) g^2                           g at y
    z     <- z - r (g / (sqrt(s) + eps) + weight_decay y)
    x     <- weighted mean of all z                              as in schedule_free.py, with r as the rate
    y     <- (1 - beta1) z + beta1 x

Source: Defazio et al., The Road Less Scheduled, 2024; as the authors' AdamWScheduleFreeReference.
Shapes: elementwise; options, step count and sums of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it in AdamW's place where the number of steps is not known beforehand, with a short warm-up.
"""

from typing import NamedTuple

from torch import Tensor

from ..transform import Hyper, Rule, Tensors, align, blend, count, scale, zeros
from .schedule_free import averaged, copies, moved, weigh


class ScheduleFreeAdamwState(NamedTuple):
    """Steps, largest rate and sum of weights so far; mean of squared gradients, z and x of each parameter."""

    step: Tensor
    rate_max: Tensor
    weight_sum: Tensor
    square: list[Tensor]
    z: list[Tensor]
    x: list[Tensor]


def _init(params: Tensors) -> ScheduleFreeAdamwState:
    return ScheduleFreeAdamwState(count(), count(), count(), zeros(params), copies(params), copies(params))


def _update(
    grads: Tensors, state: ScheduleFreeAdamwState, params: Tensors, hyper: Hyper
) -> tuple[list[Tensor], ScheduleFreeAdamwState]:
    step, beta2 = state.step + 1, hyper["beta2"]
    rate = hyper["lr"] * (1 - beta2**step).sqrt()
    rate_max, weight_sum, share = weigh(state.rate_max, state.weight_sum, rate)
    square = [blend(past, grad * grad, beta2) for grad, past in zip(grads, state.square, strict=True)]
    z = [
        point + scale(_direction(grad, second, param, hyper), rate)
        for grad, second, param, point in zip(grads, square, params, state.z, strict=True)
    ]
    x = averaged(state.x, z, share)
    return moved(params, z, x, hyper["beta1"]), ScheduleFreeAdamwState(step, rate_max, weight_sum, square, z, x)


def _direction(grad: Tensor, square: Tensor, param: Tensor, hyper: Hyper) -> Tensor:
    decay, eps = hyper["weight_decay"], hyper["eps"]
    return grad / (square.sqrt() + align(eps, square)) + param * align(decay, param)


RULE = Rule(_init, _update, lambda _params, state, _hyper: state.x)
