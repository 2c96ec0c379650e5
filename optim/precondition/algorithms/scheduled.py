"""What every algorithm that keeps curvature does around its own four verbs: when, averaging, and what to do with nonsense.

    due for curvature:       C <- beta_k C + (1 - beta_k) estimate(batch)     beta_k = min(curvature_beta, 1 - 1/k)
    due for preconditioning: P <- invert(C)
    at every step:           d <- apply(P, g),   g <- d min(1, sqrt(kl_clip / (lr^2 |<g, d>|)))

The last factor keeps a step from changing what the model predicts by more than about kl_clip, a divergence, as far as
the curvature tells (Ba et al., Distributed Second-Order Optimization using Kronecker-Factored Approximations, 2017); 0
leaves it out. k counts estimates, so that the average never leans towards its start at zero (as in Martens and Grosse, 2015). Where an
estimate or an inverse is not finite, what was there before stays, member by member, and the step is counted as skipped.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ...rules.matrices import choose
from ...transform import LAYERS, Hyper, Rule, Tensors, align, count, off
from ..batch import Batch
from ..schedule import due


class PreconditionState(NamedTuple):
    """Steps, estimates and skipped ones so far; curvature, and what is made of it, as the algorithm lays them out."""

    step: Tensor
    estimates: Tensor
    skipped: Tensor
    curvature: list[Tensor]
    inverse: list[Tensor]


class Stepped(Protocol):
    """A state that counts steps."""

    @property
    def step(self) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Algorithm:
    """Four pure verbs. Tensors are (...) for one model, (P, ...) for the members of a population.

    `init(params)` gives curvature and preconditioner to begin with, the latter such that gradients stay as they are.
    `estimate(batch, state, hyper)` gives the batch's curvature, whose memory is used on, `invert(curvature, hyper)` a preconditioner,
    `apply(inverse, grads, hyper, batch)` preconditioned gradients. One that does not `average` estimates what to keep from
    what it kept before, which is in the state.
    """

    init: Callable[[Tensors], tuple[list[Tensor], list[Tensor]]]
    estimate: Callable[[Batch, PreconditionState, Hyper], Sequence[Tensor]]
    invert: Callable[[Sequence[Tensor], Hyper], Sequence[Tensor]]
    apply: Callable[[Sequence[Tensor], Tensors, Hyper, Batch], list[Tensor]]
    average: bool = True


def scheduled(algorithm: Algorithm, *, asking: Collection[str] = (LAYERS,)) -> Rule[PreconditionState]:
    """Return the link that preconditions gradients by an algorithm, which asks about the batch where curvature is due."""

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

    return Rule(init, update, by_tensor=True, looks=True, asks=asks_at("curvature_interval", asking))


def asks_at(interval: str, asking: Collection[str] = (LAYERS,)) -> Callable[[Stepped, Hyper], Collection[str]]:
    """Return a rule's `asks`, of one that asks at the steps that the option `interval` names, and at no other."""
    return lambda state, hyper: asking if some(is_due(state.step, hyper, interval)) else ()


def within_region(found: Sequence[Tensor], grads: Tensors, hyper: Hyper) -> list[Tensor]:
    """Return preconditioned gradients, shorter where a step along them would leave the region that `kl_clip` allows.

    A method without that option keeps them as they are.
    """
    if "kl_clip" not in hyper:
        return list(found)
    limit, lr = hyper["kl_clip"], hyper["lr"]
    if limit.ndim == 0:
        return _alone_within(found, grads, float(limit), float(lr))
    if off(limit):
        return list(found)
    pairs = zip(found, grads, strict=True)
    products = torch.stack([(new * grad).flatten(limit.ndim).sum(dim=-1) for new, grad in pairs])
    far = lr**2 * products.sum(dim=0).abs()
    factor = torch.where((limit > 0) & (far > limit), (limit / far.clamp(min=torch.finfo(lr.dtype).tiny)).sqrt(), 1.0)
    return [new * align(factor, new) for new in found]


def _alone_within(found: Sequence[Tensor], grads: Tensors, limit: float, lr: float) -> list[Tensor]:
    """Return the same for one model, reckoned in numbers, which are cheaper than tensors of one."""
    if not limit:
        return list(found)
    products = [
        torch.dot(new, grad) if new.ndim == 1 else torch.dot(new.reshape(-1), grad.reshape(-1))
        for new, grad in zip(found, grads, strict=True)
    ]
    far = lr**2 * abs(sum(torch.stack(products).tolist()))
    return [new * math.sqrt(limit / far) for new in found] if far > limit else list(found)


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
    if not some(wanted):
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
    """Return the moving averages of curvature after so many estimates and a new one, in the memory of that."""
    past = torch.minimum(hyper["curvature_beta"], 1 - 1 / (estimates + 1))
    pairs = zip(new, old, strict=True)
    if past.ndim == 0:
        weight = float(past)
        return [each.lerp_(mean, weight) for each, mean in pairs]
    return [each.lerp_(mean, align(past, mean)) for each, mean in pairs]


def _inverted(algorithm: Algorithm, state: PreconditionState, hyper: Hyper) -> PreconditionState:
    wanted = is_due(state.step, hyper, "interval")
    if not some(wanted):
        return state
    wanted = wanted & (state.estimates > 0)
    with torch.no_grad():
        new = algorithm.invert(state.curvature, hyper)
        taken = wanted & finite(new, wanted)
        return state._replace(skipped=state.skipped + (wanted & ~taken), inverse=chosen(taken, new, state.inverse))


def finite(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    """Say of each member whether all that is its own is finite."""
    if all_finite(tensors):
        return torch.ones_like(like)
    return torch.stack([tensor.reshape(*like.shape, -1).isfinite().all(dim=-1) for tensor in tensors]).all(dim=0)


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Say whether tensors are finite, by their sums: one that is finite is of finite numbers alone.

    Finite numbers whose sum is too large are taken for others, so that each must be asked where the answer is no.
    """
    return not tensors or math.isfinite(sum(torch.stack([tensor.sum() for tensor in tensors]).tolist()))


def some(mask: Tensor) -> bool:
    """Say whether a mask names any member; of one model a number is asked, which is cheaper than a reduction."""
    return bool(mask.any()) if mask.ndim else bool(mask)


def every(mask: Tensor) -> bool:
    """Say whether a mask names all members."""
    return bool(mask.all()) if mask.ndim else bool(mask)


def chosen(mask: Tensor, new: Sequence[Tensor], old: Sequence[Tensor]) -> list[Tensor]:
    """Take what is new for the members that the mask names, what is old for the others."""
    if every(mask):
        return list(new)
    return [choose(mask, each, past) for each, past in zip(new, old, strict=True)]
