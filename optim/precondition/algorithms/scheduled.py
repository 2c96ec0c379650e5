"""What every algorithm that keeps curvature does around its own four verbs: when, averaging, and what to do with nonsense.

    due for curvature:       C <- beta_k C + (1 - beta_k) estimate(batch)     beta_k = min(curvature_beta, 1 - 1/k)
    due for preconditioning: P <- invert(C)
    at every step:           d <- apply(P, g),   g <- d min(1, sqrt(kl_clip / (lr^2 |<g, d>|)))

The last factor keeps a step from changing what the model predicts by more than about kl_clip, a divergence, as far as
the curvature tells (Ba et al., Distributed Second-Order Optimization using Kronecker-Factored Approximations, 2017); 0
leaves it out. k counts estimates, so that the average never leans towards its start at zero (as in Martens and Grosse, 2015). Where an
estimate or an inverse is not finite, what was there before stays, member by member, and the step is counted as skipped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ...rules.matrices import choose
from ...transform import Hyper, Rule, Tensors, align, count, off
from ..batch import Batch
from ..schedule import due


class PreconditionState(NamedTuple):
    """Steps, estimates and skipped ones so far; curvature, and what is made of it, as the algorithm lays them out."""

    step: Tensor
    estimates: Tensor
    skipped: Tensor
    curvature: list[Tensor]
    inverse: list[Tensor]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """Four pure verbs. Tensors are (...) for one model, (P, ...) for the members of a population.

    `init(params)` gives curvature and preconditioner to begin with, the latter such that gradients stay as they are.
    `estimate(batch, step, state, hyper)` gives the batch's curvature, `invert(curvature, hyper)` a preconditioner,
    `apply(inverse, grads, hyper, batch)` preconditioned gradients. One that does not `average` estimates what to keep from
    what it kept before, which is in the state.
    """

    init: Callable[[Tensors], tuple[list[Tensor], list[Tensor]]]
    estimate: Callable[[Batch, PreconditionState, Hyper], Sequence[Tensor]]
    invert: Callable[[Sequence[Tensor], Hyper], Sequence[Tensor]]
    apply: Callable[[Sequence[Tensor], Tensors, Hyper, Batch], list[Tensor]]
    average: bool = True


def scheduled(algorithm: Algorithm) -> Rule[PreconditionState]:
    """Return the link that preconditions gradients by an algorithm; it looks at the batch."""

    def init(params: Tensors) -> PreconditionState:
        curvature, inverse = algorithm.init(params)
        return PreconditionState(count(params), count(params), count(params), curvature, inverse)

    def update(
        grads: Tensors, state: PreconditionState, params: Tensors, hyper: Hyper, batch: Batch
    ) -> tuple[list[Tensor], PreconditionState]:
        del params
        state = _estimated(algorithm, state, hyper, batch)
        state = _inverted(algorithm, state, hyper)
        found = algorithm.apply(state.inverse, grads, hyper, batch)
        return within_region(found, grads, hyper), state._replace(step=state.step + 1)

    return Rule(init, update, by_tensor=True, looks=True)


def within_region(found: Sequence[Tensor], grads: Tensors, hyper: Hyper) -> list[Tensor]:
    """Return preconditioned gradients, shorter where a step along them would leave the region that `kl_clip` allows.

    A method without that option keeps them as they are.
    """
    if "kl_clip" not in hyper or off(hyper["kl_clip"]):
        return list(found)
    limit, lr = hyper["kl_clip"], hyper["lr"]
    far = lr**2 * _product(found, grads, limit.ndim).abs()
    if limit.ndim == 0 and not far > limit:
        return list(found)
    factor = torch.where((limit > 0) & (far > limit), (limit / far.clamp(min=torch.finfo(lr.dtype).tiny)).sqrt(), 1.0)
    return [new * align(factor, new) for new in found]


def _product(one: Sequence[Tensor], other: Sequence[Tensor], members: int) -> Tensor:
    """Return the inner product over all tensors, (*,)."""
    if members:
        pairs = zip(one, other, strict=True)
        return torch.stack([(mine * its).flatten(members).sum(dim=-1) for mine, its in pairs]).sum(dim=0)
    return torch.stack(
        [torch.dot(mine.reshape(-1), its.reshape(-1)) for mine, its in zip(one, other, strict=True)]
    ).sum()


def is_due(step: Tensor, hyper: Hyper, interval: str) -> Tensor:
    """Say of each member whether the step is one of those that the option `interval` names."""
    return due(
        step,
        interval=hyper[interval],
        warmup=hyper["interval_warmup"],
        ramp=hyper["interval_ramp"],
        shape=hyper["interval_shape"],
    )


def _estimated(algorithm: Algorithm, state: PreconditionState, hyper: Hyper, batch: Batch) -> PreconditionState:
    wanted = is_due(state.step, hyper, "curvature_interval")
    if not bool(wanted.any()):
        return state
    with torch.no_grad():
        new = algorithm.estimate(batch, state, hyper)
        taken = wanted & finite(new, wanted)
        kept = averaged(new, state.curvature, state.estimates, hyper) if algorithm.average else new
        return state._replace(
            estimates=state.estimates + taken,
            skipped=state.skipped + (wanted & ~taken),
            curvature=chosen(taken, kept, state.curvature),
        )


def averaged(new: Sequence[Tensor], old: Sequence[Tensor], estimates: Tensor, hyper: Hyper) -> list[Tensor]:
    """Return the moving averages of curvature after so many estimates and a new one."""
    past = torch.minimum(hyper["curvature_beta"], 1 - 1 / (estimates + 1))
    return [torch.lerp(each, mean, align(past, mean).to(mean.dtype)) for each, mean in zip(new, old, strict=True)]


def _inverted(algorithm: Algorithm, state: PreconditionState, hyper: Hyper) -> PreconditionState:
    wanted = is_due(state.step, hyper, "interval") & (state.estimates > 0)
    if not bool(wanted.any()):
        return state
    with torch.no_grad():
        new = algorithm.invert(state.curvature, hyper)
        taken = wanted & finite(new, wanted)
        return state._replace(skipped=state.skipped + (wanted & ~taken), inverse=chosen(taken, new, state.inverse))


def finite(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    """Say of each member whether all that is its own is finite."""
    sound = torch.ones_like(like)
    for tensor in tensors:
        # Times 0 what is finite sums up to 0, and this takes a tenth of the time of asking each element.
        sound = sound & ((tensor.reshape(*like.shape, -1) * 0).sum(dim=-1) == 0)
    return sound


def chosen(mask: Tensor, new: Sequence[Tensor], old: Sequence[Tensor]) -> list[Tensor]:
    """Take what is new for the members that the mask names, what is old for the others."""
    if bool(mask.all()):
        return list(new)
    return [choose(mask, each, past) for each, past in zip(new, old, strict=True)]
