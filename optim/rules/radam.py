"""RAdam: Adam that divides by its squared gradients only once their mean has been rectified, with L2 weight decay.

    m, s and the corrected means as in Adam; t from 1
    r_max  = 2 / (1 - beta2) - 1
    r      = r_max - 2 t beta2^t / (1 - beta2^t)
    r > 5:    theta <- theta - lr m / (1 - beta1^t) sqrt((r - 4)(r - 2) r_max / ((r_max - 4)(r_max - 2) r))
                                                    sqrt(1 - beta2^t) / (sqrt(s) + eps)
    r <= 5:   theta <- theta - lr m / (1 - beta1^t)

Source: Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2020; the bound of 5 and eps beside the
uncorrected root as in torch.optim.RAdam.
Shapes: elementwise; options and the step count of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it in place of Adam with warm-up.
"""

import torch
from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, align, blend, chain, scale
from .adam import AdamState, init


def _update(
    grads: Tensors,
    state: AdamState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], AdamState]:
    step = state.step + 1
    mean = [blend(past, grad, hyper["beta1"]) for grad, past in zip(grads, state.mean, strict=True)]
    square = [blend(past, grad * grad, hyper["beta2"]) for grad, past in zip(grads, state.square, strict=True)]
    rectified, factor = _rectification(step, hyper["beta2"])
    lr, eps = hyper["lr"] / (1 - hyper["beta1"] ** step), hyper["eps"]
    updates = []
    for first, second in zip(mean, square, strict=True):
        adapted = align(factor, second) / (second.sqrt() + align(eps, second))
        updates.append(scale(torch.where(align(rectified, first).bool(), first * adapted, first), lr))
    return updates, AdamState(step, mean, square)


def _rectification(step: Tensor, beta2: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether to divide by the squared gradients, and by what the quotient is multiplied then."""
    power = beta2**step
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * power / (1 - power)
    rectify = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    # Where the means are still too short, the factor goes unused and may be no number.
    return length > 5, (rectify * (1 - power)).sqrt()


RULE = chain(l2, Rule(init, _update))
