"""(C + damping I)^-1 g for the mini-batch's own curvature C, solved anew at each step by products with vectors.

C is the Gauss-Newton matrix or the Hessian, as `matrix` says for each member; nothing is kept but the direction found
last, x, from `warm_start` x of which the next solution begins.

    hessian_free: conjugate gradients    Martens, Deep learning via Hessian-free optimization, 2010
    neumann:      Neumann's series       Agarwal et al., Second-Order Stochastic Optimization ... in Linear Time, 2017
    curveball:    x <- rho x + beta (g - C x - damping x), one step of it at each step, where rho and beta are fixed or
                  those that lead lowest     Henriques et al., Small steps and giant leaps: Minimal Newton solvers, 2018

CurveBall's x is the step itself, with a momentum of its own (z = -x in the paper): there should be none behind it. The
direction follows the gradient's own where the solution is not finite, member by member, and the step is counted as skipped.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ...rules.matrices import choose
from ...transform import Hyper, Rule, Tensors, align, count, zeros
from .. import solvers
from ..batch import Looked
from ..layers import Layer
from ..operations.products import CURVATURES, Product, joined, product_of, split
from .scheduled import within_region

# (product, right (*, d), last solution (*, d), options) -> solution (*, d)
Solve: TypeAlias = Callable[[Product, Tensor, Tensor, Hyper], Tensor]
# How CurveBall comes to rho and beta, by the names in the catalog.
FIXED, CLOSED_FORM = COEFFICIENTS = ("fixed", "closed_form")


class DirectionState(NamedTuple):
    """How many solutions were not finite, and the last one."""

    skipped: Tensor
    direction: list[Tensor]


def hessian_free(layers: Sequence[Layer]) -> Rule[DirectionState]:
    """Return the link that solves by conjugate gradients, truncated by `iterations` and `tolerance`."""
    del layers
    return _link(_by_conjugate_gradients)


def neumann(layers: Sequence[Layer]) -> Rule[DirectionState]:
    """Return the link that solves by so many `terms` of a series, of C over `scale`."""
    del layers
    return _link(_by_series)


def curveball(layers: Sequence[Layer]) -> Rule[DirectionState]:
    """Return the link that takes one step towards the solution."""
    del layers
    return _link(_one_step)


def _link(solve: Solve) -> Rule[DirectionState]:
    def init(params: Tensors) -> DirectionState:
        return DirectionState(count(params), zeros(params))

    def update(
        grads: Tensors, state: DirectionState, params: Tensors, hyper: Hyper, batch: Looked
    ) -> tuple[list[Tensor], DirectionState]:
        del params
        members = hyper["damping"].ndim
        right, past = joined(grads, members), joined(state.direction, members)
        found = solve(_damped(batch, hyper), right, past, hyper)
        sound = found.isfinite().all(dim=-1)
        direction = split(choose(sound, found, past), grads, members)
        taken = split(choose(sound, found, right), grads, members)
        return within_region(taken, grads, hyper), DirectionState(state.skipped + ~sound, direction)

    return Rule(init, update, by_tensor=True, looks=True, asks=lambda *_: ())


def _damped(batch: Looked, hyper: Hyper) -> Product:
    """Return the product with C + damping I, C each member's choice."""
    chosen, damping = hyper["matrix"], hyper["damping"]
    wanted = [place for place in range(len(CURVATURES)) if bool((chosen == place).any())]
    products = [(chosen == place, product_of(batch, CURVATURES[place])) for place in wanted]

    def product(rows: Tensor) -> Tensor:
        curved = torch.zeros_like(rows)
        for mask, multiply in products:
            curved = choose(mask, multiply(rows), curved)
        return curved + align(damping, rows) * rows

    return product


def _by_conjugate_gradients(product: Product, right: Tensor, past: Tensor, hyper: Hyper) -> Tensor:
    return solvers.conjugate_gradients(
        product,
        right,
        align(hyper["warm_start"], past) * past,
        iterations=hyper["iterations"],
        tolerance=hyper["tolerance"].to(right.dtype),
    )


def _by_series(product: Product, right: Tensor, past: Tensor, hyper: Hyper) -> Tensor:
    start = align(hyper["warm_start"], past) * past
    return solvers.neumann(product, right, start, terms=hyper["terms"], scale=hyper["scale"])


def _one_step(product: Product, right: Tensor, past: Tensor, hyper: Hyper) -> Tensor:
    residual = right - product(past)
    found = align(hyper["rho"], past) * past + align(hyper["beta"], residual) * residual
    closed = hyper["coefficients"] == COEFFICIENTS.index(CLOSED_FORM)
    return choose(closed, solvers.in_plane(product, right, past, residual), found) if bool(closed.any()) else found
