"""How the curvature of one layer is held: as what, inverted how, and applied how.

Tensors are (*, ...) with the member axis in front; `blocks` and what is made of them are tuples of as many tensors as
`zeros` and `identity` have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..layers import Layer, Seen, Tensors


@dataclass(frozen=True, slots=True)
class Representation:
    """`zeros(layer, params)` gives empty blocks of one model's layer, `identity(layer, params)` what leaves gradients alone.

    `estimate(seen)` gives blocks, `invert(blocks, damping)` with damping (*,) what `apply(inverse, layer, grads, members)`
    multiplies the layer's gradients by; `dense(blocks)` is the layer's curvature as one matrix over its parameters.
    """

    tensors: int
    zeros: Callable[[Layer, Tensors], tuple[Tensor, ...]]
    identity: Callable[[Layer, Tensors], tuple[Tensor, ...]]
    estimate: Callable[[Seen], tuple[Tensor, ...]]
    invert: Callable[[Sequence[Tensor], Tensor], tuple[Tensor, ...]]
    apply: Callable[[Sequence[Tensor], Layer, Tensors, int], list[Tensor]]
    dense: Callable[[Sequence[Tensor]], Tensor]
