"""Prodigy: Adam that estimates the size of its steps, d, from how far the parameters have come; decoupled decay.

    rate  <- lr d k                                k = sqrt(1 - beta2^t) / (1 - beta1^t) if use_bias_correction, else 1
    m     <- beta1 m + (1 - beta1) d g
    s     <- beta2 s + (1 - beta2) d^2 g^2
    n     <- beta3 n + (d / d0^2) rate <g, theta_0 - theta>      over all parameters of the member
    a     <- beta3 a + (d / d0^2) rate g                         with d in place of rate if safeguard_warmup
    theta <- theta - rate (m / (sqrt(s) + d eps) + weight_decay theta)
    e     <- d_coef n / |a|_1                                    over all parameters of the member
    d     <- max(d, e)                                           growing at most by growth_rate once it left d0

d starts at d0 and the averages at 0, t at 1. A beta3 of 0 stands for sqrt(beta2); a growth_rate of 0 leaves growth
unlimited, and one below 1 counts as 1. In the optimizer form d belongs to a parameter group.
Source: Mishchenko and Defazio, Prodigy: An Expeditiously Adaptive Parameter-Free Learner, 2024; d_coef, growth_rate and
the switches as in the authors' code. n and a are kept in multiples of d0^2, and d of d0, so that none are tiny.
Shapes: elementwise but for two sums over a member; options and sums of shape () or (P,) against parameters of shape
(...) or (P, ...).
Use it where no learning rate is known: leave lr at 1 and, if anything, tune d_coef.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..transform import Hyper, Rule, Tensors, align, blend, count, scale, zeros


class ProdigyState(NamedTuple):
    """Steps so far, d and the largest estimate of it in multiples of d0, n; then m, s, a and theta_0 of each parameter."""

    step: Tensor
    d: Tensor
    d_max: Tensor
    numerator: Tensor
    mean: list[Tensor]
    square: list[Tensor]
    slope: list[Tensor]
    start: list[Tensor]


def _init(params: Tensors) -> ProdigyState:
    start = [param.detach().clone() for param in params]
    return ProdigyState(count(), count() + 1, count() + 1, count(), zeros(params), zeros(params), zeros(params), start)


def _update(grads: Tensors, state: ProdigyState, params: Tensors, hyper: Hyper) -> tuple[list[Tensor], ProdigyState]:
    step, d = state.step + 1, state.d * hyper["d0"]
    rate = hyper["lr"] * d * _bias_correction(step, hyper)
    mean = [blend(past, grad * align(d, grad), hyper["beta1"]) for grad, past in zip(grads, state.mean, strict=True)]
    square = [
        blend(past, (grad * align(d, grad)).square(), hyper["beta2"])
        for grad, past in zip(grads, state.square, strict=True)
    ]
    estimates = _estimate(grads, state, params, hyper, rate)
    updates = [
        scale(
            first / (second.sqrt() + align(d * hyper["eps"], second)) + param * align(hyper["weight_decay"], param),
            rate,
        )
        for first, second, param in zip(mean, square, params, strict=True)
    ]
    distance, largest, numerator, slope = estimates
    return updates, ProdigyState(step, distance, largest, numerator, mean, square, slope, state.start)


def _bias_correction(step: Tensor, hyper: Hyper) -> Tensor:
    corrected = (1 - hyper["beta2"] ** step).sqrt() / (1 - hyper["beta1"] ** step)
    return torch.where(hyper["use_bias_correction"] > 0, corrected, 1.0)


def _estimate(
    grads: Tensors, state: ProdigyState, params: Tensors, hyper: Hyper, rate: Tensor
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Return the next d, the largest estimate of it, n and a."""
    d0, members = hyper["d0"], hyper["lr"].ndim
    beta3 = torch.where(hyper["beta3"] > 0, hyper["beta3"], hyper["beta2"].sqrt())
    weight = state.d * rate / d0
    reach = torch.where(hyper["safeguard_warmup"] > 0, state.d.square(), weight)
    come = _total(members, [grad * (first - now) for grad, first, now in zip(grads, state.start, params, strict=True)])
    numerator = beta3 * state.numerator + weight * come
    slope = [
        past * align(beta3, past) + grad * align(reach, grad) for grad, past in zip(grads, state.slope, strict=True)
    ]
    steepness = _total(members, [past.abs() for past in slope])
    # Without any gradient so far there is nothing to estimate from.
    found = torch.where(steepness == 0, 0.0, hyper["d_coef"] * numerator / (steepness * d0))
    return *_grown(state, found, hyper["growth_rate"]), numerator, slope


def _grown(state: ProdigyState, found: Tensor, growth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next d and the largest estimate of it, which d follows as fast as it may grow."""
    largest = torch.maximum(state.d_max, found)
    free = torch.where(state.d == 1, torch.maximum(state.d, found), state.d)
    limit = torch.where(growth > 0, growth.clamp(min=1), torch.inf)
    return torch.minimum(largest, free * limit), largest


def _total(members: int, tensors: Tensors) -> Tensor:
    """Sum all elements of each member: shape () or (P,), float64."""
    sums = [tensor.reshape(*tensor.shape[:members], -1).sum(dim=-1).double() for tensor in tensors]
    return torch.stack(sums).sum(dim=0)


RULE = Rule(_init, _update)
