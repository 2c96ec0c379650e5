"""EKFAC: the natural gradient with each layer's curvature as its diagonal in the eigenbasis of its Kronecker factors.

    due for curvature:       A, B <- moving averages of Kronecker factors, as K-FAC's
    due for preconditioning: U_A, U_B <- eigenvectors of A, B;   S <- what it is in the new basis
    due for curvature:       S <- moving average of the second moments of examples' gradients in the basis
    at every step:           g <- U_B [(U_B^T g U_A) / (S + damping)] U_A^T

Source: George et al., Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis, 2018 (with running
averages, "EKFAC-ra"). They keep S as it is where the basis changes; here it is carried over (`eigenbasis.carried`).
Layers whose weight is no matrix go as with K-FAC.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ...transform import Hyper, Rule, Tensors, align, count
from ..batch import Batch
from ..layers import Layer, Seen
from ..matrices import eigenbasis
from ..matrices.eigenbasis import Basis
from ..matrices.representation import Representation
from ..modules.kinds import MATRIX
from ..operations.sources import looks, merged
from .natural import of, parts, replaced
from .scheduled import asks_at, averaged, chosen, finite, is_due, some, within_region

# Layers with how K-FAC holds the curvature of each.
_Held: TypeAlias = Sequence[tuple[Layer, Representation]]
# What was seen from each source, with the mask of the members that want that.
_Looks: TypeAlias = Sequence[tuple[Tensor, Sequence[Seen]]]


class EkfacState(NamedTuple):
    """Steps; estimates of factors and of moments, and skipped ones; what is kept of layers.

    `factors` are A and B, `basis` U_A and U_B, `moments` S of those that are matrices; of others curvature and inverse.
    """

    step: Tensor
    estimates: Tensor
    measured: Tensor
    skipped: Tensor
    factors: list[Tensor]
    basis: list[Tensor]
    moments: list[Tensor]


def ekfac(layers: Sequence[Layer], representations: Mapping[str, Representation]) -> Rule[EkfacState]:
    """Return the link for these layers; `representations` are K-FAC's, by the kinds of layers."""
    held = [(layer, representations[layer.kind]) for layer in layers]

    def init(params: Tensors) -> EkfacState:
        given = [(layer, form, of(layer, params)) for layer, form in held]
        factors = [zero for layer, form, params in given for zero in form.zeros(layer, params)]
        basis = [unit for layer, form, params in given for unit in form.identity(layer, params)]
        moments = [
            torch.zeros_like(MATRIX[layer.kind].join(layer, params, 0))
            for layer, _, params in given
            if layer.kind in MATRIX
        ]
        return EkfacState(count(params), count(params), count(params), count(params), factors, basis, moments)

    def update(
        grads: Tensors, state: EkfacState, params: Tensors, hyper: Hyper, batch: Batch
    ) -> tuple[list[Tensor], EkfacState]:
        del params
        with torch.no_grad():
            state = _looked(held, state, hyper, batch)
            found = replaced(grads, layers, _preconditioned(held, grads, state, hyper))
        return within_region(found, grads, hyper), state._replace(step=state.step + 1)

    return Rule(init, update, by_tensor=True, looks=True, asks=asks_at("curvature_interval"))


def _looked(held: _Held, state: EkfacState, hyper: Hyper, batch: Batch) -> EkfacState:
    """Return the state with all that is due; moments are measured in the newest basis."""
    wanted = is_due(state.step, hyper, "curvature_interval")
    if not some(wanted):
        return _turned(held, state, hyper)
    seen = list(looks(batch, state.step, hyper))
    before = state.estimates
    state = _turned(held, _estimated(held, state, hyper, seen, wanted), hyper)
    return _measured(held, state, hyper, seen, state.estimates > before)


def _estimated(held: _Held, state: EkfacState, hyper: Hyper, seen: _Looks, wanted: Tensor) -> EkfacState:
    def estimate(own: Sequence[Seen]) -> list[Tensor]:
        return [factor for (_, form), each in zip(held, own, strict=True) for factor in form.estimate(each)]

    new = merged(seen, estimate)
    taken = wanted & finite(new, wanted)
    mean = averaged(new, state.factors, state.estimates, hyper)
    return state._replace(
        estimates=state.estimates + taken,
        skipped=state.skipped + (wanted & ~taken),
        factors=chosen(taken, mean, state.factors),
    )


def _turned(held: _Held, state: EkfacState, hyper: Hyper) -> EkfacState:
    wanted = is_due(state.step, hyper, "interval") & (state.estimates > 0)
    if not some(wanted):
        return state
    new = [
        tensor
        for (layer, form), factors in zip(held, _cut(held, state.factors), strict=True)
        for tensor in (
            eigenbasis.eigenbasis(factors) if layer.kind in MATRIX else form.invert(factors, hyper["damping"])
        )
    ]
    bases = zip(state.moments, _bases(held, state.basis), _bases(held, new), strict=True)
    moments = [eigenbasis.carried(*each) for each in bases]
    taken = wanted & finite([*new, *moments], wanted)
    return state._replace(
        skipped=state.skipped + (wanted & ~taken),
        basis=chosen(taken, new, state.basis),
        moments=chosen(taken, moments, state.moments),
    )


def _measured(held: _Held, state: EkfacState, hyper: Hyper, seen: _Looks, wanted: Tensor) -> EkfacState:
    bases = _bases(held, state.basis)

    def estimate(own: Sequence[Seen]) -> list[Tensor]:
        matrices = [each for each in own if each.layer.kind in MATRIX]
        return [eigenbasis.moments(*each) for each in zip(matrices, bases, strict=True)]

    new = merged(seen, estimate)
    taken = wanted & finite(new, wanted)
    mean = averaged(new, state.moments, state.measured, hyper)
    return state._replace(
        measured=state.measured + taken,
        skipped=state.skipped + (wanted & ~taken),
        moments=chosen(taken, mean, state.moments),
    )


def _preconditioned(held: _Held, grads: Tensors, state: EkfacState, hyper: Hyper) -> list[list[Tensor]]:
    """Return the gradients of each layer."""
    damping, moments, found = hyper["damping"], iter(state.moments), []
    for (layer, form), basis in zip(held, _cut(held, state.basis), strict=True):
        own = of(layer, grads)
        if layer.kind in MATRIX:
            scale = _scale(next(moments), state.measured, damping)
            found.append(eigenbasis.apply(Basis(*basis), scale, layer, own, damping.ndim))
        else:
            found.append(form.apply(basis, layer, own, damping.ndim))
    return found


def _scale(moments: Tensor, measured: Tensor, damping: Tensor) -> Tensor:
    """Return what to divide by; before the first moments gradients stay as they are."""
    known = align(measured.to(moments.dtype), moments) > 0
    return torch.where(known, moments + align(damping, moments), 1.0)


def _bases(held: _Held, tensors: Sequence[Tensor]) -> list[Basis]:
    """Return the bases of layers that are matrices, from a list of all layers' tensors."""
    own = zip(held, _cut(held, tensors), strict=True)
    return [Basis(*part) for (layer, _), part in own if layer.kind in MATRIX]


def _cut(held: _Held, tensors: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    return parts(tensors, [form for _, form in held])
