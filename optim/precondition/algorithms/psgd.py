"""PSGD: a preconditioner P = Q^T Q that is itself learned by gradient descent, from pairs of a vector and its product.

Of pairs (v, h), v normal, P minimises E[h^T P h + v^T P^-1 v]. Q is upper triangular, and moves along its own group:

    a = Q h,   b = Q^-T v,   D = triu(a a^T - b b^T)
    m <- max(max|D|, slope_beta m + (1 - slope_beta) max|D|)
    Q <- Q - precond_lr / m D Q

The papers divide by max|D| alone (slope_beta of 0). Then pairs of next to no slope move Q as far as any, and with batches
of few examples P grows by the many that say nothing; m forgets large slopes but slowly.

With h = H v + damping w, w another normal vector, P comes to be (H^2 + damping^2 I)^(-1/2): the inverse of the absolute
Hessian, with no need of its being positive. With `pairs` "whitening" h is the gradient itself in place of the product, and
P comes to be (E[g g^T] + damping^2 I)^(-1/2).

`psgd` keeps Q_l (x) Q_r of each matrix of parameters, kernels of convolutions being matrices of their first axis by all
others, and diagonals of vectors and of sides longer than `LONGEST`. There A = Q_l h Q_r^T, B = Q_l^-T v Q_r^-1, and the
two move by triu(A A^T - B B^T) and triu(A^T A - B^T B), each at its own scale; then both are made equally large, which
leaves their product as it is. A A^T - B B^T is the symmetric part of (A - B) (A + B)^T, one product in place of two.
`psgd_full` keeps one Q over all parameters. Q begins as init_scale I, of 0 as the multiple of I that suits the first pair.

Source: Li, Preconditioned stochastic gradient descent, 2015 (arXiv 1512.04202); Li, Preconditioner on matrix Lie group for
SGD, 2018 (arXiv 1809.10232).
Shapes: options (*,), tensors (*, ...), member by member; * is () or (P,); folded they are matrices (*, n, m), of which what has
one factor alone is one column. What is random follows from the step alone.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from ...rules.matrices import cast, choose, precise
from ...transform import PRODUCTS, Hyper, Rule, Tensors, align
from .. import draws
from ..batch import Batch
from ..layers import Layer
from ..operations import triangles
from ..operations.axes import matrix_shape
from .scheduled import Algorithm, PreconditionState, asks_at, every, scheduled, some

Shape: TypeAlias = Sequence[int]
T = TypeVar("T")

# The longest side of a matrix that has a triangular factor, and the most parameters that have one in common.
LONGEST = 4096
# The place of its name among the choices of `pairs`.
_WHITENING = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """Which tensors have factors, one for each axis.

    `shapes(tensors, members)` gives the axes inside a member of what `fold(tensors, members)` makes matrices of, from tensors
    shaped as the parameters; `unfold(folded, like)` goes the other way round. `triangular(shape)` says of each axis whether
    its factor is a triangle or a diagonal.
    """

    shapes: Callable[[Tensors, int], list[Shape]]
    fold: Callable[[Tensors, int], list[Tensor]]
    unfold: Callable[[Tensors, Tensors], list[Tensor]]
    triangular: Callable[[Shape], list[bool]]


def psgd(layers: Sequence[Layer]) -> Rule[PreconditionState]:
    """Return the link with a Kronecker product for each parameter."""
    del layers
    return _link(
        Layout(_each, _matrices, _reshaped, lambda shape: [len(shape) > 1 and side <= LONGEST for side in shape])
    )


def psgd_full(layers: Sequence[Layer]) -> Rule[PreconditionState]:
    """Return the link with one triangle for all parameters, of which there may be `LONGEST`."""
    del layers
    return _link(Layout(_whole, _joined, _parted, lambda _: [True]))


def _each(tensors: Tensors, members: int) -> list[Shape]:
    return [matrix_shape(tensor.shape[members:]) for tensor in tensors]


def _matrices(tensors: Tensors, members: int) -> list[Tensor]:
    return [
        cast(tensor, precise(tensor.dtype)).reshape(*tensor.shape[:members], shape[0], math.prod(shape[1:]))
        for tensor, shape in zip(tensors, _each(tensors, members), strict=True)
    ]


def _reshaped(folded: Tensors, like: Tensors) -> list[Tensor]:
    return [cast(each.reshape(own.shape), own.dtype) for each, own in zip(folded, like, strict=True)]


def _whole(tensors: Tensors, members: int) -> list[Shape]:
    size = sum(tensor.shape[members:].numel() for tensor in tensors)
    if size > LONGEST:
        raise ValueError(
            f"psgd_full keeps a square matrix over all parameters, at most {LONGEST}, and there are {size}: choose psgd"
        )
    return [(size,)]


def _joined(tensors: Tensors, members: int) -> list[Tensor]:
    flat = torch.cat([tensor.reshape(*tensor.shape[:members], -1) for tensor in tensors], dim=-1)
    return [flat.to(precise(flat.dtype)).unsqueeze(-1)]


def _parted(folded: Tensors, like: Tensors) -> list[Tensor]:
    members = folded[0].ndim - 2
    parts = torch.split(folded[0], [own.shape[members:].numel() for own in like], dim=-2)
    return [part.reshape(own.shape).to(own.dtype) for part, own in zip(parts, like, strict=True)]


def _link(layout: Layout) -> Rule[PreconditionState]:
    def init(params: Tensors) -> PreconditionState:
        return scheduled(_algorithm(layout, layout.shapes(params, 0))).init(params)

    def update(
        grads: Tensors, state: PreconditionState, params: Tensors, hyper: Hyper, batch: Batch
    ) -> tuple[list[Tensor], PreconditionState]:
        shapes = layout.shapes(grads, state.step.ndim)
        return scheduled(_algorithm(layout, shapes)).update(grads, state, params, hyper, batch)

    return Rule(init, update, by_tensor=True, looks=True, asks=_asks)


_products = asks_at("curvature_interval", (PRODUCTS,))


def _asks(state: PreconditionState, hyper: Hyper) -> Collection[str]:
    return () if every(hyper["pairs"] == _WHITENING) else _products(state, hyper)


def _algorithm(layout: Layout, shapes: Sequence[Shape]) -> Algorithm:
    # Where a tensor is at least as wide as the side of a factor, its part of P is made once and saves more at each step.
    squared = [side * side <= math.prod(shape) for shape in shapes for side in shape]

    def init(params: Tensors) -> tuple[list[Tensor], list[Tensor]]:
        factors = [
            _identity(folded, *axis)
            for folded, shape in zip(layout.fold(params, 0), shapes, strict=True)
            for axis in enumerate(layout.triangular(shape))
        ]
        return [*factors, *(factor.new_zeros(1) for factor in factors)], [factor.clone() for factor in factors]

    def estimate(batch: Batch, state: PreconditionState, hyper: Hyper) -> list[Tensor]:
        members = hyper["lr"].ndim
        vectors, products = (layout.fold(each, members) for each in _pairs(batch, state.step, hyper))
        factors, sizes = (_own(each, shapes) for each in _halves(state.curvature))
        learned = []
        for vector, product, own, past in zip(vectors, products, factors, sizes, strict=True):
            begun = _begun(own, vector, product, state.estimates > 0, hyper)
            learned.append(fitted(begun, past, vector, product, hyper))
        return [each for half in zip(*learned, strict=True) for part in half for each in part]

    def invert(curvature: Sequence[Tensor], hyper: Hyper) -> list[Tensor]:
        factors, members = _halves(curvature)[0], hyper["lr"].ndim
        return [_squared(each, members) if wide else each for each, wide in zip(factors, squared, strict=True)]

    def apply(inverse: Sequence[Tensor], grads: Tensors, hyper: Hyper, batch: Batch) -> list[Tensor]:
        del batch
        members = hyper["lr"].ndim
        own = zip(layout.fold(grads, members), _own(inverse, shapes), _own(squared, shapes), strict=True)
        return layout.unfold([_multiplied(each, factors, wide) for each, factors, wide in own], grads)

    return Algorithm(init, estimate, invert, apply, average=False)


def _identity(like: Tensor, axis: int, triangular: bool) -> Tensor:
    ones = like.new_ones(like.shape[axis])
    return torch.diag(ones) if triangular else ones


def _halves(curvature: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return the factors, and the sizes m (*, 1) of their slopes."""
    return curvature[: len(curvature) // 2], curvature[len(curvature) // 2 :]


def _own(each: Sequence[T], shapes: Sequence[Shape]) -> list[list[T]]:
    """Cut a list over all factors into those of each tensor."""
    rest = iter(each)
    return [[next(rest) for _ in shape] for shape in shapes]


def _pairs(batch: Batch, step: Tensor, hyper: Hyper) -> tuple[list[Tensor], list[Tensor]]:
    """Return the vectors v and what each member's P is fitted to, shaped as the parameters."""
    vectors, noise = _normal(batch.params, step)
    whitening, damping = hyper["pairs"] == _WHITENING, hyper["damping"]
    found = batch.gradients() if some(whitening) else vectors
    if not every(whitening):
        products = batch.product(vectors)
        found = [choose(whitening, grad, product) for grad, product in zip(found, products, strict=True)]
    return vectors, [each + align(damping, each) * own for each, own in zip(found, noise, strict=True)]


def _normal(params: Tensors, step: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Draw twice what is shaped as the parameters."""
    sizes = [param.shape[step.ndim :].numel() for param in params]
    drawn = torch.split(draws.normal(step, 2 * sum(sizes)), 2 * sizes, dim=-1)
    shaped = [each.reshape(param.shape).to(param) for each, param in zip(drawn, [*params, *params], strict=True)]
    return shaped[: len(params)], shaped[len(params) :]


def _begun(factors: Sequence[Tensor], vector: Tensor, product: Tensor, begun: Tensor, hyper: Hyper) -> Sequence[Tensor]:
    """Return the factors of a tensor, of members that have not begun as the identity times what it is to be."""
    if every(begun):
        return factors
    lengths = [torch.linalg.vector_norm(each.flatten(begun.ndim), dim=-1) for each in (vector, product)]
    suited = (lengths[0] / lengths[1].clamp(min=torch.finfo(product.dtype).tiny)).sqrt()
    scale = torch.where(hyper["init_scale"] > 0, hyper["init_scale"], suited) ** (1 / len(factors))
    return [factor * align(torch.where(begun, 1.0, scale), factor) for factor in factors]


def fitted(
    factors: Sequence[Tensor], sizes: Sequence[Tensor], vector: Tensor, product: Tensor, hyper: Hyper
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the factors of a matrix's axes, and the sizes of slopes, after a step for one pair (*, n, m)."""
    a, b = product, vector
    for axis, factor in enumerate(factors):
        a = _times(factor, a, axis)
    for axis, factor in reversed(list(enumerate(factors))):
        b = _divided(factor, b, axis)
    less, more = a - b, a + b
    sides = ((less, more), (less.mT, more.mT))[: len(factors)]
    moved = [_moved(factor, size, *side, hyper) for factor, size, side in zip(factors, sizes, sides, strict=True)]
    return balanced([factor for factor, _ in moved], hyper["precond_lr"].ndim), [size for _, size in moved]


def _moved(factor: Tensor, size: Tensor, less: Tensor, more: Tensor, hyper: Hyper) -> tuple[Tensor, Tensor]:
    """Return Q - precond_lr / m D Q and m, with the axis of Q the first of a - b and a + b."""
    rate, past = hyper["precond_lr"], hyper["slope_beta"]
    triangular = factor.ndim == less.ndim
    slope = _symmetric(less @ more.mT).triu_() if triangular else (less * more).sum(dim=-1)
    largest = slope.abs().flatten(rate.ndim).amax(dim=-1, keepdim=True)
    size = torch.maximum(largest, torch.lerp(largest, size, align(past, size).to(size.dtype)))
    step = align(rate, size) / size.clamp(min=torch.finfo(size.dtype).tiny)
    along_group = triangles.product(slope, factor) if triangular else slope * factor
    return factor - along_group.mul_(align(step.squeeze(-1), factor)), size


def _symmetric(matrix: Tensor) -> Tensor:
    return matrix.mT.contiguous().add_(matrix).mul_(0.5)


def balanced(factors: Sequence[Tensor], members: int) -> list[Tensor]:
    """Return factors of the same product that are equally large."""
    if len(factors) == 1:
        return list(factors)
    left, right = (factor.abs().flatten(members).amax(dim=-1) for factor in factors)
    scale = (right / left).sqrt()
    return [factor * align(each, factor) for factor, each in zip(factors, (scale, 1 / scale), strict=True)]


def _multiplied(matrix: Tensor, factors: Sequence[Tensor], squared: Sequence[bool]) -> Tensor:
    """Return P X, of factors that are parts of P already or are yet to be squared."""
    for axis, (factor, done) in enumerate(zip(factors, squared, strict=True)):
        matrix = _times(factor, matrix, axis)
        matrix = matrix if done else _times(factor.mT if factor.ndim == matrix.ndim else factor, matrix, axis)
    return matrix


def _times(factor: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Return Q X of a matrix (*, n, m), or along its other axis X Q^T."""
    if factor.ndim < matrix.ndim:
        return matrix * factor.unsqueeze(-2 if axis else -1)
    return matrix @ factor.mT if axis else factor @ matrix


def _divided(factor: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Return Q^-T X of a matrix (*, n, m), or along its other axis X Q^-1."""
    if factor.ndim < matrix.ndim:
        return matrix / factor.unsqueeze(-2 if axis else -1)
    rows = matrix if axis else matrix.mT
    # From the left it takes twice as long.
    found: Tensor = torch.linalg.solve_triangular(factor, rows, upper=True, left=False)
    return found if axis else found.mT


def _squared(factor: Tensor, members: int) -> Tensor:
    """Return the factor's own part of P, Q^T Q."""
    return factor.mT @ factor if factor.ndim > members + 1 else factor * factor
