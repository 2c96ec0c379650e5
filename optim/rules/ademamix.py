"""AdEMAMix: Adam with a second, much slower mean of gradients, and decoupled weight decay.

    m     <- beta1 m + (1 - beta1) g
    l     <- b l + (1 - b) g                                     the slow mean; l, m and s start at 0, t at 1
    s     <- beta2 s + (1 - beta2) g^2
    theta <- theta - lr ((m / (1 - beta1^t) + a l) / (sqrt(s / (1 - beta2^t)) + eps) + weight_decay theta)

where, u = min(1, t / slow_warmup) or 1 without a warm-up, a = u slow_weight and b <= beta3 has a half-life that grows
linearly from beta1's to beta3's:  1 / ln b = (1 - u) / ln beta1 + u / ln beta3.

Source: Pagliardini, Ablin and Grangier, The AdEMAMix Optimizer: Better, Faster, Older, 2024 (their T_alpha and T_beta3
are one option).
Shapes: elementwise; options and the step count of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it for long runs, where gradients of thousands of steps ago still tell something.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..links.decay import decoupled
from ..transform import Hyper, Rule, Tensors, align, blend, chain, count, scale, zeros


class AdemamixState(NamedTuple):
    """Steps taken so far; fast and slow mean of gradients, and mean of squared gradients, of each parameter."""

    step: Tensor
    fast: list[Tensor]
    slow: list[Tensor]
    square: list[Tensor]


def _init(params: Tensors) -> AdemamixState:
    return AdemamixState(count(), zeros(params), zeros(params), zeros(params))


def _update(
    grads: Tensors,
    state: AdemamixState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], AdemamixState]:
    step = state.step + 1
    beta1, beta2, eps = hyper["beta1"], hyper["beta2"], hyper["eps"]
    progress = (step / hyper["slow_warmup"].clamp(min=1)).clamp(max=1)
    alpha, beta3 = hyper["slow_weight"] * progress, _slowness(beta1, hyper["beta3"], progress)
    fast = [blend(past, grad, beta1) for grad, past in zip(grads, state.fast, strict=True)]
    slow = [blend(past, grad, beta3) for grad, past in zip(grads, state.slow, strict=True)]
    square = [blend(past, grad * grad, beta2) for grad, past in zip(grads, state.square, strict=True)]
    debias, correction = 1 / (1 - beta1**step), (1 - beta2**step).sqrt()
    updates = [
        scale(
            (quick * align(debias, quick) + old * align(alpha, old))
            / (second.sqrt() / align(correction, second) + align(eps, second)),
            hyper["lr"],
        )
        for quick, old, second in zip(fast, slow, square, strict=True)
    ]
    return updates, AdemamixState(step, fast, slow, square)


def _slowness(start: Tensor, end: Tensor, progress: Tensor) -> Tensor:
    """Return the weight of the past in the slow mean; a logarithm of 0 is -inf, and its reciprocal then counts as 0."""
    rising = torch.exp(1 / ((1 - progress) / start.log() + progress / end.log()))
    return torch.where(progress < 1, torch.minimum(rising, end), end)


RULE = chain(Rule(_init, _update), decoupled)
