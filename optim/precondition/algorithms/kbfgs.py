"""K-BFGS: Kronecker factors of the Hessian whose inverses are learned by BFGS, one by its products, one by differences.

The Hessian by a layer's weight is taken for A (x) B, A = E[a a^T] of its inputs a and B that of the loss by its outputs
h = W a; with H_A and H_B for the inverses of A + root I and B, root = sqrt(damping), gradients G become H_B G H_A.

    A   <- average of E[a a^T]
    H_A learns from s = H_A E[a], y = (A + root I) s                  (and begins as the inverse of the first A + root I)
    s_B <- average of the change of E[h], y_B <- average of the change of E[slopes by h]     on the way to a trial step
    H_B learns from s_B and y_B, damped by mu1 and root               (and begins as I)

Averages are by curvature_beta; expectations are over the mini-batch at hand and, of a convolution, over positions (of
slopes, sums over them). The step goes along what H_A and H_B made of the gradient before they learn. So does the trial, by
the learning rate, and the same mini-batch is looked at where it ends: two passes where curvature is due. `interval` says
when what the inverses have come to is taken into use.

Source: Goldfarb, Ren and Bahamou, Practical quasi-Newton methods for training deep neural networks, 2020 (arXiv
2006.08877); Ren, Bahamou and Goldfarb, Kronecker-factored quasi-Newton methods for deep learning, 2021 (arXiv 2102.06737),
of convolutions. Shapes: options (*,), factors (*, G, d, d) and (*, G, o, o), G groups of a convolution.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...rules.matrices import cast, choose
from ...transform import LAYERS, SLOPES, Hyper, Rule, Tensors, align
from ..batch import EMPIRICAL, Batch, Looked
from ..layers import Layer, Seen
from ..matrices import bfgs, kronecker
from ..matrices.kronecker import product
from ..modules.kinds import MATRIX
from .natural import of, replaced
from .scheduled import Algorithm, PreconditionState, asks_at, averaged, every, scheduled, within_region

# How far a trial goes where no learning rate is known.
_TRIAL = 0.01
# How many averages are kept of a layer, before what is learned of them.
_AVERAGED = 3


class _Learned(NamedTuple):
    """What is kept of a layer: the averages A, s_B and y_B, then the inverses H_A and H_B."""

    inputs: Tensor
    shift: Tensor
    change: Tensor
    left: Tensor
    right: Tensor


class _Means(NamedTuple):
    """Of a layer and a mini-batch: the mean input (*, G, d) and slope (*, G, o), and the mean output (*, G, o).

    With what inputs are averaged of, (*, G, n t, d), and the weights of that, (*, 1, n t, 1).
    """

    inputs: Tensor
    slopes: Tensor
    outputs: Tensor
    columns: Tensor
    weights: Tensor


def kbfgs(layers: Sequence[Layer]) -> Rule[PreconditionState]:
    """Return the link for these layers, whose weights are matrices; others keep their gradients."""
    chosen = [layer for layer in layers if layer.kind in MATRIX]

    def algorithm(direction: list[Tensor]) -> Algorithm:
        """Return the verbs of one step, which goes along what the state it found has made of the gradients."""

        def estimate(batch: Batch, state: PreconditionState, hyper: Hyper) -> list[Tensor]:
            trial = batch.moved(_trial(batch, direction, hyper))
            before, after = (_means(looked, chosen, state.step) for looked in (batch, trial))
            kept = _parts(state.curvature)
            averages = _averages(kept, before, after, state.estimates, hyper)
            own = zip(kept, averages, before, strict=True)
            return _flat([_next(*each, state.estimates, hyper) for each in own])

        return Algorithm(init, estimate, _in_use, lambda *_: direction, average=False)

    def init(params: Tensors) -> tuple[list[Tensor], list[Tensor]]:
        begun = _flat([_begun(layer, of(layer, params)) for layer in chosen])
        return begun, _in_use(begun)

    def update(
        grads: Tensors, state: PreconditionState, params: Tensors, hyper: Hyper, batch: Batch
    ) -> tuple[list[Tensor], PreconditionState]:
        direction = _applied(chosen, state.inverse, grads, hyper["lr"].ndim)
        return scheduled(algorithm(direction)).update(grads, state, params, hyper, batch)

    asks = asks_at("curvature_interval", (LAYERS, SLOPES))
    return Rule(scheduled(algorithm([])).init, update, by_tensor=True, looks=True, asks=asks)


def _applied(layers: Sequence[Layer], inverse: Sequence[Tensor], grads: Tensors, members: int) -> list[Tensor]:
    """Return H_B G H_A of the layers, the gradients of the others as they are."""
    pairs = zip(layers, inverse[::2], inverse[1::2], strict=True)
    found = [kronecker.apply((left, right), layer, of(layer, grads), members) for layer, left, right in pairs]
    return replaced(grads, layers, found)


def _in_use(curvature: Sequence[Tensor], hyper: Hyper | None = None) -> list[Tensor]:
    """Return the inverses H_A and H_B of each layer."""
    del hyper
    return [factor for kept in _parts(curvature) for factor in (kept.left, kept.right)]


def _flat(layers: Sequence[_Learned]) -> list[Tensor]:
    return [tensor for kept in layers for tensor in kept]


def _parts(curvature: Sequence[Tensor]) -> list[_Learned]:
    return [_Learned(*own) for own in _cut(curvature, len(_Learned._fields))]


def _cut(tensors: Sequence[Tensor], size: int) -> list[Sequence[Tensor]]:
    """Cut a list into those of each layer."""
    return [tensors[first : first + size] for first in range(0, len(tensors), size)]


def _begun(layer: Layer, params: Tensors) -> _Learned:
    left, right = kronecker.KRONECKER.identity(layer, params)
    shift = torch.zeros_like(right[..., 0])
    return _Learned(torch.zeros_like(left), shift, shift.clone(), left, right)


def _trial(batch: Looked, direction: Tensors, hyper: Hyper) -> list[Tensor]:
    """Return the parameters after a step along a direction, held back as any step is."""
    rate = torch.where(hyper["lr"] > 0, hyper["lr"], _TRIAL)
    grads = [cast(grad, each.dtype) for grad, each in zip(batch.gradients(), direction, strict=True)]
    held = within_region(direction, grads, {**hyper, "lr": rate})
    return [(param - align(rate, param) * each).to(param.dtype) for param, each in zip(batch.params, held, strict=True)]


def _means(batch: Looked, layers: Sequence[Layer], key: Tensor) -> list[_Means]:
    """Return the means of those layers."""
    params = batch.params
    return [_mean(seen, params) for seen in batch.seen(EMPIRICAL, key=key) if seen.layer in layers]


def _mean(seen: Seen, params: Tensors) -> _Means:
    kind, members = MATRIX[seen.layer.kind], seen.members
    columns, rows = kind.columns(seen), kind.rows(seen).select(members, 0)
    share, columns = kronecker.spread(seen.weights, columns), columns.flatten(-3, -2)
    weights = share / (columns.shape[-2] // seen.weights.shape[-1])  # of positions; slopes are summed over them
    inputs, slopes = product(weights.mT, columns), product(share.mT, rows.flatten(-3, -2))
    matrix = cast(kind.join(seen.layer, of(seen.layer, params), members), inputs.dtype)
    outputs = product(inputs, matrix.mT)
    return _Means(inputs.squeeze(-2), slopes.squeeze(-2), outputs.squeeze(-2), columns, weights)


def _news(before: _Means, after: _Means) -> tuple[Tensor, Tensor, Tensor]:
    """Return what is to be averaged, E[a a^T] and the changes of E[h] and of E[slopes by h]."""
    second = product((before.columns * before.weights).mT, before.columns)
    return second, after.outputs - before.outputs, after.slopes - before.slopes


def _averages(
    kept: Sequence[_Learned], before: Sequence[_Means], after: Sequence[_Means], estimates: Tensor, hyper: Hyper
) -> list[Sequence[Tensor]]:
    """Return A, s_B and y_B of each layer after a mini-batch."""
    new = [tensor for means in zip(before, after, strict=True) for tensor in _news(*means)]
    old = [tensor for own in kept for tensor in own[:_AVERAGED]]
    return _cut(averaged(new, old, estimates, hyper), _AVERAGED)


def _next(kept: _Learned, averages: Sequence[Tensor], before: _Means, estimates: Tensor, hyper: Hyper) -> _Learned:
    """Return what is kept after a mini-batch, of whose averages A, s_B and y_B are known."""
    inputs, shift, change = averages
    root = align(hyper["damping"].sqrt(), shift[..., 0]).to(shift.dtype)
    return _Learned(
        inputs,
        shift,
        change,
        _of_inputs(kept.left, inputs, before.inputs, root, begun=estimates > 0),
        bfgs.learned(kept.right, *bfgs.damped(kept.right, shift, change, mu=align(hyper["mu1"], root), added=root)),
    )


def _of_inputs(left: Tensor, inputs: Tensor, mean: Tensor, root: Tensor, *, begun: Tensor) -> Tensor:
    """Return the next H_A, from what A + root I does to H_A E[a]; to begin with, its very inverse."""
    if not every(begun):
        left = choose(begun, left, kronecker.inverse(inputs, root.expand(inputs.shape[:-2])))
    s = bfgs.times(left, mean)
    y = bfgs.times(inputs, s) + root.unsqueeze(-1) * s
    return bfgs.learned(left, s, y)
