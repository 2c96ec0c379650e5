"""The words that the rooms of preconditioning share: a layer, a call of one, and what was seen of it in a mini-batch.

Shapes: `*` is nothing for one model, (P,) for the members of a population; n examples, c vectors that were propagated
back. Layers are known by the places of their parameters in the list that the optimizer steps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor
from torch.autograd.graph import GradientEdge

Tensors: TypeAlias = Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class Layer:
    """What uses parameters in one way: its kind (a name in `modules.kinds`), where its parameters are, how it is set.

    `settings` are what the call was given beside tensors, such as stride and padding; `places` are where its parameters
    are in the list of all, weight before bias.
    """

    kind: str
    weight: int | None
    bias: int | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    places: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find the places once, for they are asked for at every step."""
        object.__setattr__(self, "places", tuple(place for place in (self.weight, self.bias) if place is not None))


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a layer in a forward pass: what went in (*, n, ...), and where in the graph its output hangs.

    Where `turned`, examples are columns of the output. `prepare` is given where the weight multiplies not what went in but
    something made of it.
    """

    layer: Layer
    inputs: Tensor
    edge: GradientEdge
    turned: bool = False
    prepare: Callable[[Tensor], Tensor] | None = None

    def features(self) -> Tensor:
        """What the weight multiplies (*, n, ...); computed here, for it is asked for only where curvature is due."""
        return self.inputs if self.prepare is None else self.prepare(self.inputs)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a layer in a mini-batch.

    `inputs` (*, n, ...) are what its weight multiplies, `slopes` (*, c, n, ...) are of each example's loss by the layer's
    outputs, `weights` (*, n) are those of the examples in the mean loss: 1/n each, 0 for padding. What is summed over vectors and
    weighed over examples is the curvature.
    """

    layer: Layer
    inputs: Tensor
    slopes: Tensor
    weights: Tensor

    @property
    def members(self) -> int:
        """The number of member axes, 0 or 1."""
        return self.weights.ndim - 1
