"""Shampoo: gradients whitened along each of their axes.

Of a gradient G of shape (n_1, ..., n_k), for each axis i:

    L_i <- beta_t L_i + (1 - beta_t) G_(i) G_(i)^T      beta_t = min(curvature_beta, 1 - 1/t)
    D   <- G times (L_i + ridge max(lambda) I)^(-1/2k) along each axis i
    g   <- D |graft| / |D|

G_(i) being G unfolded along the axis, (n_i, all others); of a matrix D is L^(-1/4) G R^(-1/4). With curvature_beta of 1,
L_i is the paper's sum over all steps, but for a factor that grafting takes out, and a rate that falls by 1/sqrt(t) puts in.

An axis longer than `block_size` is cut into blocks as equal as can be, and of L_i only those on its diagonal are kept: so
there are as many roots as blocks along all axes. (Anil et al. cut G itself and give each piece L and R of its own: two
roots for each pair of blocks.) `axes` says whether kernels of convolutions are matrices of their first
axis by all others, or have all their axes; vectors have one, with the root -1/2.

The graft gives each parameter's step the length that another rule would: its gradient's (sgd), or that of
g / (sqrt(v) + 1e-8) with v the corrected average of squares by beta2 (adam); with none D is as long as it is.

Source: Gupta, Koren and Singer, Shampoo: Preconditioned stochastic tensor optimization, 2018; Anil et al., Scalable second
order optimization for deep learning, 2020 (blocks, grafting, intervals). It knows gradients alone.
Shapes: options (*,), gradients (*, ...), member by member; * is () or (P,).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ...rules.matrices import cast, choose, precise
from ...transform import Hyper, Rule, Tensors, align, blend, within, zeros
from ..batch import Batch
from ..layers import Layer
from ..matrices.blocks import Side, packed, parted, room, sides, together
from ..matrices.roots import ROOTS, inverse_root
from ..operations.axes import matrix_shape, vector_shape
from .scheduled import Algorithm, PreconditionState, all_finite, chosen, every, finite, scheduled, some

# What an option `axes` chooses between, and places among the choices of `grafting`.
_SHAPES = (matrix_shape, vector_shape)
_NONE, _SGD = 0, 1
_SMALL = 1e-8


class ShampooState(NamedTuple):
    """What `scheduled` keeps, the L_i of each parameter in one vector and their roots in another; v of each parameter."""

    step: Tensor
    estimates: Tensor
    skipped: Tensor
    curvature: list[Tensor]
    inverse: list[Tensor]
    square: list[Tensor]


class _Setting(NamedTuple):
    """Options that say how curvature is laid out and inverted, of one member or of several that agree."""

    block_size: int
    axes: int
    root: int

    def sides(self, grad: Tensor, members: int) -> tuple[Side, ...]:
        """Return the axes that a gradient is whitened along; one without elements has none."""
        return sides(_SHAPES[self.axes](grad.shape[members:]) if grad.numel() else (), self.block_size)


def _init(params: Tensors) -> ShampooState:
    return ShampooState(*scheduled(_algorithm(params)).init(params), zeros(params))


def _update(grads: Tensors, state: ShampooState, params: Tensors, hyper: Hyper) -> tuple[list[Tensor], ShampooState]:
    found, kept = scheduled(_algorithm(grads)).update(grads, PreconditionState(*state[:-1]), params, hyper, None)
    square = [blend(old, grad * grad, hyper["beta2"]) for old, grad in zip(state.square, grads, strict=True)]
    if not all_finite(square):
        square = chosen(finite(square, kept.estimates > -1), square, state.square)
    begun = kept.estimates > 0
    if not every(begun):
        found = [choose(begun, new, grad) for new, grad in zip(found, grads, strict=True)]
    return _grafted(found, grads, square, kept.step, hyper), ShampooState(*kept, square)


def _algorithm(grads: Tensors) -> Algorithm:
    """Return the verbs for these gradients, or for parameters to begin with."""

    def init(params: Tensors) -> tuple[list[Tensor], list[Tensor]]:
        kept = [param.new_zeros(_room(param), dtype=precise(param.dtype)) for param in params]
        return kept, zeros(kept)

    def estimate(batch: Batch, state: PreconditionState, hyper: Hyper) -> list[Tensor]:
        del batch
        own = partial(_statistics, grads, state.curvature, hyper["lr"].ndim)
        return _for_each(hyper, own)

    def invert(curvature: Sequence[Tensor], hyper: Hyper) -> list[Tensor]:
        return _for_each(hyper, partial(_roots, grads, curvature, hyper["ridge"]))

    def apply(inverse: Sequence[Tensor], grads: Tensors, hyper: Hyper, batch: Batch) -> list[Tensor]:
        del batch
        return _for_each(hyper, partial(_whitened, grads, inverse, hyper["lr"].ndim))

    return Algorithm(init, estimate, invert, apply)


def _for_each(hyper: Hyper, make: Callable[[_Setting], list[Tensor]]) -> list[Tensor]:
    """Return what `make` makes of the setting of each member."""
    if hyper["lr"].ndim == 0:
        return make(_Setting(*(int(hyper[name]) for name in _Setting._fields)))
    given = torch.stack([hyper[name] for name in _Setting._fields], dim=-1)
    found: list[Tensor] = []
    for setting in sorted({tuple(map(int, each)) for each in given.reshape(-1, given.shape[-1]).tolist()}):
        new = make(_Setting(*setting))
        own = (given == given.new_tensor(setting)).all(dim=-1)
        found = [choose(own, each, old) for each, old in zip(new, found, strict=True)] if found else new
    return found


def _room(param: Tensor) -> int:
    """Return how many numbers are kept of a parameter, whatever the setting."""
    return max(room(shape(param.shape)) for shape in _SHAPES) if param.numel() else 0


def _statistics(grads: Tensors, kept: Tensors, members: int, own: _Setting) -> list[Tensor]:
    """Return the blocks of each G_(i) G_(i)^T, as they are kept."""
    found = []
    for grad, like in zip(grads, kept, strict=True):
        each, turned, blocks = own.sides(grad, members), cast(grad, like.dtype), []
        for side in each:
            rows = turned.reshape(*grad.shape[:members], side.length, -1)
            cut, turned = side.cut(rows), rows.mT
            blocks.append(cut @ cut.mT)
        found.append(packed(blocks, each, like))
    return found


def _roots(grads: Tensors, curvature: Sequence[Tensor], ridge: Tensor, own: _Setting) -> list[Tensor]:
    """Return (L_i + ridge max(lambda) I)^(-1/2k), as they are kept."""
    each = [own.sides(grad, ridge.ndim) for grad in grads]
    blocks = [
        side.blocks(part)
        for kept, parts in zip(curvature, each, strict=True)
        for side, part in zip(parts, parted(kept, parts), strict=True)
    ]
    powers = [2 * len(parts) for parts in each for _ in parts]

    def root(block: Tensor, power: int) -> Tensor:
        return inverse_root(block, power, align(ridge, block[..., 0, 0]), by=ROOTS[own.root])

    found = iter(together(blocks, powers, root))
    return [packed([next(found) for _ in parts], parts, kept) for kept, parts in zip(curvature, each, strict=True)]


def _whitened(grads: Tensors, inverse: Sequence[Tensor], members: int, own: _Setting) -> list[Tensor]:
    """Return gradients times the root along each axis."""
    return [
        _multiplied(grad, own.sides(grad, members), kept, members) for grad, kept in zip(grads, inverse, strict=True)
    ]


def _multiplied(grad: Tensor, each: Sequence[Side], kept: Tensor, members: int) -> Tensor:
    """Return a gradient times the root along each of its sides; each product turns the next axis to the front."""
    found, front = cast(grad, kept.dtype), grad.shape[:members]
    for side, root in zip(each, parted(kept, each), strict=True):
        found = side.times(root, found.reshape(*front, side.length, -1))
    return cast(found.reshape(grad.shape), grad.dtype)


def _grafted(found: Tensors, grads: Tensors, square: Tensors, step: Tensor, hyper: Hyper) -> list[Tensor]:
    """Return directions with the lengths that the grafted rule's steps would have."""
    plain = hyper["grafting"] == _NONE
    if every(plain):
        return list(found)
    own = _lengths(found, step.ndim)
    factors = _grafts(grads, square, step, hyper) / own.clamp(min=torch.finfo(own.dtype).tiny)
    factors = torch.where(plain, 1.0, factors) if some(plain) else factors
    return [each * align(factor, each) for each, factor in zip(found, factors.unbind(), strict=True)]


def _grafts(grads: Tensors, square: Tensors, step: Tensor, hyper: Hyper) -> Tensor:
    """Return the length of each parameter's step by the grafted rule, (k, *) of k parameters."""
    members, sgd = step.ndim, hyper["grafting"] == _SGD
    if every(sgd):
        return _lengths(grads, members)
    # c g / (sqrt(v) + 1e-8 c), with v yet to be divided by c^2.
    correction = (1 - hyper["beta2"] ** step).sqrt()
    small = correction * _SMALL
    roots = [own.sqrt().add_(align(small, own)) for own in square]
    adam = _lengths([grad / root for grad, root in zip(grads, roots, strict=True)], members) * correction
    return torch.where(sgd, _lengths(grads, members), adam) if some(sgd) else adam


def _lengths(tensors: Tensors, members: int) -> Tensor:
    """Return the length of each tensor of each member, (k, *) of k tensors."""
    return torch.stack([_norm(tensor, members) for tensor in tensors])


def _norm(tensor: Tensor, members: int) -> Tensor:
    """Return the length (*,) of each member's tensor."""
    return torch.linalg.vector_norm(tensor, dim=within(members, tensor)) if tensor.ndim > members else tensor.abs()


RULE = Rule(_init, _update, by_tensor=True, asks=lambda *_: ())


def shampoo(layers: Sequence[Layer]) -> Rule[ShampooState]:
    """Return the link, which is the same whatever the layers."""
    del layers
    return RULE
