"""Muon: momentum whose steps are orthogonalised, for matrices; AdamW for vectors and scalars. Decoupled weight decay.

    v     <- momentum v + (1 - momentum) g
    d     <- momentum v + (1 - momentum) g if nesterov, else v
    theta <- theta - lr weight_decay theta - lr r O(d)           O by newton_schulz.py

where r is sqrt(max(1, rows / columns)), or 0.2 sqrt(max(rows, columns)) with match_rms, by which steps are as large as
AdamW's. Parameters with less than two axes take the steps of AdamW, at a rate of adamw_ratio lr, with beta1, beta2 and
adamw_eps. A parameter with more than two axes is taken as a matrix of its first by all others.

Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024; match_rms from Liu et al., Muon is
Scalable for LLM Training, 2025. On matrices as torch.optim.Muon.
Shapes: options and the step count of shape () or (P,) against parameters of shape (...) or (P, ...), member by member.
Use it for networks whose parameters are mostly matrices, such as transformers, in place of AdamW.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..links.decay import decoupled
from ..transform import Hyper, Rule, Tensors, align, chain, count, scale
from . import adam
from .matrices import as_matrix, is_matrix, pick, put
from .newton_schulz import orthogonal

_ADAMW = chain(Rule(adam.init, adam.update), decoupled)


class MuonState(NamedTuple):
    """Steps so far; the mean of gradients of each matrix; the means of gradient and squared gradient of the others."""

    step: Tensor
    velocity: list[Tensor]
    mean: list[Tensor]
    square: list[Tensor]


def _init(params: Tensors) -> MuonState:
    matrices = [torch.zeros_like(param) if is_matrix(0, param) else param.new_zeros(0) for param in params]
    others = [param.new_zeros(0) if is_matrix(0, param) else torch.zeros_like(param) for param in params]
    return MuonState(count(), matrices, others, [other.clone() for other in others])


def _update(grads: Tensors, state: MuonState, params: Tensors, hyper: Hyper) -> tuple[list[Tensor], MuonState]:
    matrices = [place for place, param in enumerate(params) if is_matrix(hyper["lr"].ndim, param)]
    others = sorted(set(range(len(params))) - set(matrices))
    velocity = [_mean(state.velocity[place], grads[place], hyper) for place in matrices]
    steps, _ = decoupled.update(
        [_step(mean, grads[place], hyper) for mean, place in zip(velocity, matrices, strict=True)],
        (),
        pick(params, matrices),
        hyper,
    )
    adam_state = adam.AdamState(state.step, pick(state.mean, others), pick(state.square, others))
    theirs = {**hyper, "lr": hyper["lr"] * hyper["adamw_ratio"], "eps": hyper["adamw_eps"]}
    adam_steps, (adam_state, _) = _ADAMW.update(pick(grads, others), (adam_state, ()), pick(params, others), theirs)
    return put(put(grads, matrices, steps), others, adam_steps), MuonState(
        adam_state.step,
        put(state.velocity, matrices, velocity),
        put(state.mean, others, adam_state.mean),
        put(state.square, others, adam_state.square),
    )


def _mean(past: Tensor, grad: Tensor, hyper: Hyper) -> Tensor:
    return torch.lerp(past, grad, align(1 - hyper["momentum"], grad).to(grad.dtype))


def _step(mean: Tensor, grad: Tensor, hyper: Hyper) -> Tensor:
    ahead = torch.lerp(grad, mean, align(hyper["momentum"], grad).to(grad.dtype))
    members, lr = hyper["lr"].ndim, hyper["lr"]
    matrix = as_matrix(members, torch.where(align(hyper["nesterov"], grad) > 0, ahead, mean))
    rows, columns = matrix.shape[members:]
    direction = orthogonal(matrix, steps=hyper["ns_steps"], eps=hyper["eps"], coarse=hyper["bfloat16"])
    rate = torch.where(
        hyper["match_rms"] > 0,
        lr * 0.2 * math.sqrt(max(rows, columns)),
        lr * math.sqrt(max(1, rows / columns)),
    )
    return scale(direction.reshape(grad.shape), rate)


RULE = Rule(_init, _update, by_tensor=True)
