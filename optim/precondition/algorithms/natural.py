"""The natural gradient layer by layer: (F + damping I)^-1 g, each layer's curvature F held in its own representation.

Source: Amari, Natural gradient works efficiently in learning, 1998; the representations name theirs. F is the Fisher
information from sampled targets, from all of them (exact; then it is the Gauss-Newton matrix), or from those of the data
(empirical), as `fisher` says for each member.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from ...transform import Hyper, Rule, Tensors
from ..batch import Batch
from ..layers import Layer, Seen
from ..matrices.representation import Representation
from ..operations.sources import from_sources
from .scheduled import Algorithm, PreconditionState, scheduled


def natural(layers: Sequence[Layer], representations: Mapping[str, Representation]) -> Rule[PreconditionState]:
    """Return the link for these layers; `representations` by their kind. Layers of other kinds keep their gradients."""
    places = [place for place, layer in enumerate(layers) if layer.kind in representations]
    chosen = [layers[place] for place in places]
    forms = [representations[layer.kind] for layer in chosen]

    def init(params: Tensors) -> tuple[list[Tensor], list[Tensor]]:
        own = [(form, layer, of(layer, params)) for form, layer in zip(forms, chosen, strict=True)]
        zeros = [block for form, layer, params in own for block in form.zeros(layer, params)]
        return zeros, [block for form, layer, params in own for block in form.identity(layer, params)]

    def blocks(seen: Sequence[Seen]) -> list[Tensor]:
        return [block for form, place in zip(forms, places, strict=True) for block in form.estimate(seen[place])]

    def estimate(batch: Batch, state: PreconditionState, hyper: Hyper) -> list[Tensor]:
        return from_sources(batch, state.step, hyper, blocks)

    def invert(curvature: Sequence[Tensor], hyper: Hyper) -> list[Tensor]:
        cut = zip(forms, parts(curvature, forms), strict=True)
        return [tensor for form, part in cut for tensor in form.invert(part, hyper["damping"])]

    def apply(inverse: Sequence[Tensor], grads: Tensors, hyper: Hyper, batch: Batch) -> list[Tensor]:
        del batch
        cut = zip(forms, chosen, parts(inverse, forms), strict=True)
        found = [form.apply(part, layer, of(layer, grads), hyper["damping"].ndim) for form, layer, part in cut]
        return replaced(grads, chosen, found)

    return scheduled(Algorithm(init, estimate, invert, apply))


def of(layer: Layer, tensors: Tensors) -> list[Tensor]:
    """Return a layer's own of tensors for all parameters."""
    return [tensors[place] for place in layer.places]


def replaced(tensors: Tensors, layers: Sequence[Layer], own: Sequence[Tensors]) -> list[Tensor]:
    """Return tensors for all parameters with each layer's own in their places."""
    found = list(tensors)
    for layer, new in zip(layers, own, strict=True):
        for place, tensor in zip(layer.places, new, strict=True):
            found[place] = tensor
    return found


def parts(tensors: Sequence[Tensor], forms: Sequence[Representation]) -> list[Sequence[Tensor]]:
    """Cut a list of all layers' tensors into those of each."""
    found, start = [], 0
    for form in forms:
        found.append(tensors[start : start + form.tensors])
        start += form.tensors
    return found
