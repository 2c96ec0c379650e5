"""SKFAC, swift K-FAC: K-FAC with the curvature of one mini-batch alone, inverted through its examples where they are few.

    due for preconditioning: A^-1, B^-1 <- damped inverses of the batch's own factors (`matrices.swift`)
    at every step:           g <- B^-1 g A^-1

It is K-FAC with a curvature_beta of 0, to rounding, and keeps two matrices a layer in place of four. Layers whose weight
is no matrix go as there.

Source: Tang et al., SKFAC: Training Neural Networks with Faster Kronecker-Factored Approximate Curvature, 2021.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...transform import Hyper, Rule, Tensors, count
from ..batch import Batch
from ..layers import Layer, Seen
from ..matrices import swift
from ..matrices.representation import Representation
from ..modules.kinds import MATRIX
from ..operations.sources import from_sources
from .natural import of, parts, replaced
from .scheduled import PreconditionState, asks_at, chosen, finite, is_due, some, within_region


def skfac(layers: Sequence[Layer], representations: Mapping[str, Representation]) -> Rule[PreconditionState]:
    """Return the link for these layers; `representations` are K-FAC's, by the kinds of layers."""
    forms = [representations[layer.kind] for layer in layers]

    def init(params: Tensors) -> PreconditionState:
        own = zip(forms, layers, strict=True)
        inverse = [tensor for form, layer in own for tensor in form.identity(layer, of(layer, params))]
        return PreconditionState(count(params), count(params), count(params), [], inverse)

    def update(
        grads: Tensors, state: PreconditionState, params: Tensors, hyper: Hyper, batch: Batch
    ) -> tuple[list[Tensor], PreconditionState]:
        del params
        with torch.no_grad():
            state = _inverted(forms, state, hyper, batch)
            own = zip(forms, layers, parts(state.inverse, forms), strict=True)
            new = [form.apply(inverse, layer, of(layer, grads), hyper["lr"].ndim) for form, layer, inverse in own]
        found = replaced(grads, layers, new)
        return within_region(found, grads, hyper), state._replace(step=state.step + 1)

    return Rule(init, update, by_tensor=True, looks=True, asks=asks_at("interval"))


def _inverted(
    forms: Sequence[Representation], state: PreconditionState, hyper: Hyper, batch: Batch
) -> PreconditionState:
    wanted = is_due(state.step, hyper, "interval")
    if not some(wanted):
        return state

    def estimate(seen: Sequence[Seen]) -> list[Tensor]:
        own = zip(forms, seen, strict=True)
        return [tensor for form, each in own for tensor in _inverse(form, each, hyper["damping"])]

    new = from_sources(batch, state.step, hyper, estimate)
    taken = wanted & finite(new, wanted)
    return state._replace(
        estimates=state.estimates + taken,
        skipped=state.skipped + (wanted & ~taken),
        inverse=chosen(taken, new, state.inverse),
    )


def _inverse(form: Representation, seen: Seen, damping: Tensor) -> Sequence[Tensor]:
    if seen.layer.kind in MATRIX:
        return swift.damped_inverse(seen, damping)
    return form.invert(form.estimate(seen), damping)
