"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, with decoupled weight decay.

For a matrix G of shape (rows, columns), from the second step on, t from 1:

    M     <- beta1 M + (1 - beta1) G
    V     <- beta2 V + (1 - beta2) (Ql^T G Qr)^2
    theta <- theta - lr weight_decay theta
             - lr Ql [Ql^T M Qr / (1 - beta1^t) / (sqrt(V / (1 - beta2^t)) + eps)] Qr^T
    L     <- b L + (1 - b) G G^T,   R <- b R + (1 - b) G^T G     b = shampoo_beta, or beta2 where that is 0
    Ql    <- Q of the QR decomposition of L Ql, Qr of R Qr       every precondition_frequency steps

The first step only makes L and R and takes Ql and Qr from their eigenvectors, largest eigenvalue first; it moves no
parameter but by weight decay. A side longer than max_dim keeps the identity as its basis, and so do vectors and scalars:
there, this is Adam (from the second step on). A parameter with more than two axes is a matrix of its first by all others.

Directions in which gradients have shown nothing have no eigenvectors of their own: rounding would choose them, and
another kind of rounding others. So a millionth of the mean eigenvalue, rising by its half along the diagonal, is added
to L and R where their bases are computed; such directions then lie along the axes. The sign of an eigenvector is free,
and no parameter depends on it: M is kept in the space of the parameters, and V is of squares.

Source: Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, 2024; the first step as in the authors' code.
Shapes: options and the step count of shape () or (P,) against parameters of shape (...) or (P, ...), member by member.
Use it where steps are dear and memory is not: two square matrices beside each parameter.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..links.decay import decoupled
from ..transform import Hyper, Rule, Tensors, align, blend, chain, count, scale, zeros
from .matrices import as_matrix, choose, is_matrix, precise, settled

# No option, because memory is set aside before options are known: a longer side has no basis, whatever max_dim says.
LONGEST = 10_000


class SoapState(NamedTuple):
    """Steps so far; for each parameter M, V, L, R, Ql and Qr, the last four empty where there can be no basis."""

    step: Tensor
    mean: list[Tensor]
    square: list[Tensor]
    left: list[Tensor]
    right: list[Tensor]
    left_basis: list[Tensor]
    right_basis: list[Tensor]


class _Side(NamedTuple):
    """L and Ql of one parameter, or R and Qr."""

    covariance: Tensor
    basis: Tensor


def _init(params: Tensors) -> SoapState:
    left, right = [_side(param, 0) for param in params], [_side(param, 1) for param in params]
    covariances = [side.covariance for side in left], [side.covariance for side in right]
    bases = [side.basis for side in left], [side.basis for side in right]
    return SoapState(count(), zeros(params), zeros(params), *covariances, *bases)


def _side(param: Tensor, axis: int) -> _Side:
    length = as_matrix(0, param).shape[axis] if is_matrix(0, param) else 0
    dtype = precise(param.dtype)
    if not 0 < length <= LONGEST:
        return _Side(param.new_zeros(0, dtype=dtype), param.new_zeros(0, dtype=dtype))
    basis = torch.eye(length, dtype=dtype, device=param.device)
    return _Side(torch.zeros_like(basis), basis)


def _update(
    grads: Tensors,
    state: SoapState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], SoapState]:
    if not grads:
        return [], state._replace(step=state.step + 1)
    taken = [
        _step(grad, mean, square, _Side(left, left_basis), _Side(right, right_basis), state.step, hyper)
        for grad, mean, square, left, right, left_basis, right_basis in zip(grads, *state[1:], strict=True)
    ]
    updates, mean, square, left, right = (list(column) for column in zip(*taken, strict=True))
    return updates, SoapState(
        state.step + 1,
        mean,
        square,
        [side.covariance for side in left],
        [side.covariance for side in right],
        [side.basis for side in left],
        [side.basis for side in right],
    )


def _step(
    grad: Tensor, mean: Tensor, square: Tensor, left: _Side, right: _Side, before: Tensor, hyper: Hyper
) -> tuple[Tensor, Tensor, Tensor, _Side, _Side]:
    """Return the update of one parameter after `before` steps, with its M, V and sides."""
    started, step = before > 0, before.clamp(min=1)
    turned = _turned(grad, left, right, hyper)
    mean = choose(started, blend(mean, grad, hyper["beta1"]), mean)
    square = choose(started, blend(square, turned * turned, hyper["beta2"]), square)
    correction = (1 - hyper["beta2"] ** step).sqrt()
    root = square.sqrt() / align(correction, square) + align(hyper["eps"], square)
    direction = _turned_back(_turned(mean, left, right, hyper) / root, left, right, hyper)
    lr = torch.where(started, hyper["lr"] / (1 - hyper["beta1"] ** step), 0.0)
    left = _learned(left, grad, before, hyper, turn=False)
    right = _learned(right, grad, before, hyper, turn=True)
    return scale(direction, lr), mean, square, left, right


def _turned(tensor: Tensor, left: _Side, right: _Side, hyper: Hyper) -> Tensor:
    """Return Ql^T X Qr."""
    return _multiplied(tensor, left.basis.mT if left.basis.numel() else left.basis, right.basis, hyper)


def _turned_back(tensor: Tensor, left: _Side, right: _Side, hyper: Hyper) -> Tensor:
    """Return Ql X Qr^T."""
    return _multiplied(tensor, left.basis, right.basis.mT if right.basis.numel() else right.basis, hyper)


def _multiplied(tensor: Tensor, before: Tensor, behind: Tensor, hyper: Hyper) -> Tensor:
    """Multiply from both sides in the precision of the bases, an empty one being the identity."""
    if not before.numel() and not behind.numel():
        return tensor
    matrix = as_matrix(hyper["lr"].ndim, tensor).to(before.dtype)
    matrix = before @ matrix if before.numel() else matrix
    matrix = matrix @ behind if behind.numel() else matrix
    return matrix.reshape(tensor.shape).to(tensor.dtype)


def _learned(side: _Side, grad: Tensor, before: Tensor, hyper: Hyper, *, turn: bool) -> _Side:
    """Take a gradient into a side's covariance and, where that is due, refresh its basis."""
    wanted = hyper["max_dim"] >= side.basis.size(-1)
    if not side.basis.numel() or not bool(wanted.any()):
        return side
    matrix = as_matrix(hyper["lr"].ndim, grad).to(side.basis.dtype)
    matrix = matrix.mT if turn else matrix
    beta = torch.where(hyper["shampoo_beta"] > 0, hyper["shampoo_beta"], hyper["beta2"])
    covariance = blend(side.covariance, matrix @ matrix.mT, beta)
    first = wanted & (before == 0)
    due = wanted & (before > 0) & (before % hyper["precondition_frequency"] == 0)
    return _Side(covariance, _refreshed(side.basis, covariance, first, due))


def _refreshed(basis: Tensor, covariance: Tensor, first: Tensor, due: Tensor) -> Tensor:
    """Return the bases, new for the members that take their first step and for those whose refresh is due."""
    if bool(first.any()):
        # Where gradients are not finite there is no decomposition, and it must not fail for the other members.
        sound = covariance.isfinite().all(dim=-1).all(dim=-1)
        given = choose(first & sound, settled(covariance), basis)
        basis = choose(first & sound, torch.linalg.eigh(given).eigenvectors.flip(-1), basis)
    if bool(due.any()):
        basis = choose(due, torch.linalg.qr(settled(covariance) @ basis).Q, basis)
    return basis


RULE = chain(Rule(_init, _update, by_tensor=True), decoupled)
