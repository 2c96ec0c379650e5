"""A mini-batch as methods ask about it: slopes by the outputs of layers, products with the Hessian, the loss elsewhere.

Everything is computed when it is asked for, so that a step at which no curvature is due costs none.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..rules.matrices import cast, precise
from ..transform import PRODUCTS, SLOPES
from .criteria import Criterion
from .layers import Call, Layer, Seen, Tensors

# How torch says that a function's slope has none of its own.
UNKNOWN = "is not implemented"
EMPIRICAL, SAMPLED, EXACT = SOURCES = ("empirical", "sampled", "exact")


@dataclass(frozen=True, slots=True)
class Pass:
    """A forward pass: the mean loss, summed over members; the outputs (*, n, ..., k) if they are known; calls of layers."""

    loss: Tensor
    outputs: Tensor | None
    calls: Sequence[Call]


class Looked(Protocol):
    """What methods ask about a mini-batch; see `Batch`."""

    weights: Tensor

    @property
    def params(self) -> Tensors: ...

    def moved(self, params: Tensors) -> "Looked": ...

    def gradients(self) -> list[Tensor]: ...

    def seen(self, source: str, *, key: Tensor, samples: int = 1) -> list[Seen]: ...

    def product(self, vectors: Tensors) -> list[Tensor]: ...

    def gauss_newton(self, vectors: Tensors) -> list[Tensor]: ...


class Batch:
    """What can be known of a mini-batch at `params`, its examples having `weights` (*, n) in the mean loss.

    `first` is the pass at the parameters where it was made already, `asked` what is worth preparing (see `Rule.asks`).

    `run` makes a pass at parameters that it is given; `layers` are those that passes are read for; `names` are what errors
    call parameters.
    """

    def __init__(
        self,
        run: Callable[[Tensors], Pass],
        params: Tensors,
        layers: Sequence[Layer],
        criterion: Criterion,
        weights: Tensor,
        *,
        first: Pass | None = None,
        asked: Collection[str] = (),
        names: Sequence[str] = (),
    ) -> None:
        self.params: Tensors = params
        self.layers, self.weights = layers, weights
        self._names = names
        self._run, self._criterion = run, criterion
        self._pass, self._asked = first, asked
        self._gradients: list[Tensor] | None = None
        self._found: list[Call] | None = None
        self._bent: list[Tensor] | None = None
        self._slopes: list[Tensor] | None = None
        self._pulled: tuple[Tensor, Tensor, list[Tensor]] | None = None

    @property
    def forward(self) -> Pass:
        """The pass at the parameters; made once."""
        if self._pass is None:
            with torch.enable_grad():
                self._pass = self._run(self.params)
        return self._pass

    def moved(self, params: Tensors) -> "Batch":
        """Return the same mini-batch at other parameters."""
        moved = [param.detach().requires_grad_() for param in params]
        return Batch(self._run, moved, self.layers, self._criterion, self.weights, names=self._names)

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the mean loss by the parameters, dense; zero where it does not depend on one."""
        if self._gradients is None:
            found = [grad.detach() for grad in self._twice()] if PRODUCTS in self._asked else self._once()
            self._gradients = [grad.to_dense() if grad.is_sparse else grad for grad in found]
        return list(self._gradients)

    def _once(self) -> list[Tensor]:
        """Return the gradients; with the slopes by outputs of layers where these are asked."""
        edges = [call.edge for call in self._calls()] if SLOPES in self._asked else []
        wanted: list[Any] = [*self.params, *edges]  # torch's own type for both is less than what it takes
        found = torch.autograd.grad(self.forward.loss, wanted, retain_graph=True, allow_unused=True)
        if edges:
            self._slopes = self._turned(found[len(self.params) :])
        pairs = zip(found, self.params, strict=False)
        return [torch.zeros_like(param) if grad is None else grad for grad, param in pairs]

    def _twice(self) -> list[Tensor]:
        """Return the gradients such that they can be differentiated, made once."""
        if self._bent is None:
            with torch.enable_grad():
                found = torch.autograd.grad(self.forward.loss, self.params, create_graph=True, materialize_grads=True)
                self._bent = _dense(found)
        return self._bent

    def seen(self, source: str, *, key: Tensor, samples: int = 1) -> list[Seen]:
        """Return what is seen of each layer, in the order of `layers`, with vectors from `source` (one of `SOURCES`).

        `key` (*,) decides what is drawn in `samples`. Raise ValueError where outputs are needed and not known, and where
        a layer took no part in the pass.
        """
        if not self.layers:
            return []
        vectors = {
            EMPIRICAL: self._own,
            SAMPLED: lambda: self._sampled(key, samples),
            EXACT: self._exact,
        }[source]()
        stacked = [_along(parts, self._members) for parts in zip(*vectors, strict=True)]
        calls = zip(self.layers, self._calls(), stacked, strict=True)
        return [
            Seen(layer, *self._precise(layer, call.features(), slopes), self.weights) for layer, call, slopes in calls
        ]

    def _precise(self, layer: Layer, inputs: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """Return both in the precision of the layer's parameters, float32 at least, whatever it was that they passed in."""
        dtype = precise(self.params[layer.places[0]].dtype)
        return cast(inputs, dtype) if inputs.is_floating_point() else inputs, cast(slopes, dtype)

    def product(self, vectors: Tensors) -> list[Tensor]:
        """Return the product of the Hessian of the mean loss with vectors shaped as the parameters.

        Many at once have one more axis in front, (c, *, ...), and so have their products.
        """
        with torch.enable_grad(), _differentiated_twice():
            return _pullback(self._twice(), self.params, vectors)

    def gauss_newton(self, vectors: Tensors) -> list[Tensor]:
        """Return the same of the generalised Gauss-Newton matrix J^T H J (Schraudolph, 2002).

        J is of the outputs by the parameters, H of the loss by the outputs. Raise ValueError where the outputs are not
        known, or are not what the loss is made of.
        """
        with torch.enable_grad(), _differentiated_twice():
            probe, slope, pulled = self._linearised()
            outputs = [self._outputs()]
            along = _pullback(pulled, [probe], vectors)
            return _pullback(outputs, self.params, _pullback([slope], outputs, along))

    def _linearised(self) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return u, the slope of the loss by the outputs, and J^T u, whose own slope along v by u is J v (Pearlmutter, 1994)."""
        if self._pulled is None:
            outputs = self._outputs()
            probe = torch.zeros_like(outputs, requires_grad=True)
            pulled = torch.autograd.grad(outputs, self.params, probe, create_graph=True, materialize_grads=True)
            (slope,) = torch.autograd.grad(self.forward.loss, outputs, create_graph=True, allow_unused=True)
            if slope is None:
                raise ValueError(
                    "the loss is not made of the outputs that were returned with it: return those it is of"
                )
            self._pulled = probe, slope, _dense(pulled)
        return self._pulled

    @property
    def _members(self) -> int:
        return self.weights.ndim - 1

    def _calls(self) -> list[Call]:
        if self._found is None:
            found = {call.layer.places[0]: call for call in self.forward.calls}
            missing = [layer for layer in self.layers if layer.places[0] not in found]
            if missing:
                raise ValueError(f"layers took no part in this mini-batch, those of {self._called(missing)}")
            self._found = [found[layer.places[0]] for layer in self.layers]
        return self._found

    def _called(self, layers: Sequence[Layer]) -> str:
        """Name the parameters of layers, by their places where they have no names."""
        places = [place for layer in layers for place in layer.places]
        return ", ".join(self._names[place] if self._names else f"parameter {place}" for place in places)

    def _own(self) -> list[list[Tensor]]:
        """Return slopes of the loss itself: of a mean, so each example's are its weight times its own."""
        if self._slopes is None:
            self._slopes = self._slopes_of(self.forward.loss, None)
        shares = (1 / self.weights).masked_fill_(self.weights == 0, 0.0)
        return [[slope * _beside(shares, slope) for slope in self._slopes]]

    def _sampled(self, key: Tensor, samples: int) -> list[list[Tensor]]:
        outputs = self._outputs()
        drawn = [self._criterion.sampled(outputs.detach(), key, number) for number in range(samples)]
        return [self._back(vector / samples**0.5) for vector in drawn]

    def _exact(self) -> list[list[Tensor]]:
        outputs = self._outputs().detach()
        vectors = self._criterion.exact(outputs)
        lead, examples = outputs.shape[self._members : -1], self.weights.shape[-1]
        # Rows may also be one axis, (n rows, k), as for torch's losses.
        rows = lead.numel() // examples if lead.numel() % examples == 0 else lead.numel()
        if rows == 1:
            return [self._back(vector) for vector in vectors]
        # Rows of an example are of losses of their own: together their slopes would be multiplied with each other's.
        turn = (torch.arange(lead.numel(), device=outputs.device) % rows).reshape(*lead, 1)
        return [self._back(vector * (turn == row)) for vector in vectors for row in range(rows)]

    def _back(self, vector: Tensor) -> list[Tensor]:
        """Propagate a vector of the outputs back. Rows that are more than examples share an example's part of the mean."""
        outputs = self._outputs()
        rows = outputs.shape[self._members : -1].numel()
        share = (self.weights.shape[-1] / rows) ** 0.5
        return self._slopes_of(outputs, vector if share == 1 else vector * share)

    def _outputs(self) -> Tensor:
        if self.forward.outputs is None:
            raise ValueError(
                "this method looks at the model's outputs: return (loss, outputs) from the closure, or choose "
                'fisher="empirical" or matrix="hessian" where there is such an option'
            )
        if not self.forward.outputs.requires_grad:
            raise ValueError(
                "the outputs that were returned with the loss are detached: return those that it is made of"
            )
        return self.forward.outputs

    def _slopes_of(self, outputs: Tensor, vector: Tensor | None) -> list[Tensor]:
        edges = [call.edge for call in self._calls()]
        return self._turned(torch.autograd.grad(outputs, edges, vector, retain_graph=True, allow_unused=True))

    def _turned(self, found: Sequence[Tensor | None]) -> list[Tensor]:
        """Return slopes of all layers with examples in front."""
        slopes = [slope for slope in found if slope is not None]
        if len(slopes) < len(found):
            idle = [layer for layer, slope in zip(self.layers, found, strict=True) if slope is None]
            raise ValueError(
                f"the loss does not depend on {self._called(idle)}: leave what is not trained out of the parameters"
            )
        return [slope.mT if call.turned else slope for call, slope in zip(self._calls(), slopes, strict=True)]


class Members:
    """The mini-batches of members of a population whose passes are made one by one; all have as many examples."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self.weights = torch.stack([batch.weights for batch in batches])

    @property
    def params(self) -> Tensors:
        return [torch.stack(parts) for parts in zip(*(batch.params for batch in self._batches), strict=True)]

    def moved(self, params: Tensors) -> "Members":
        return Members([batch.moved([param[place] for param in params]) for place, batch in enumerate(self._batches)])

    def gradients(self) -> list[Tensor]:
        return _stacked([batch.gradients() for batch in self._batches])

    def seen(self, source: str, *, key: Tensor, samples: int = 1) -> list[Seen]:
        each = [batch.seen(source, key=own, samples=samples) for batch, own in zip(self._batches, key, strict=True)]
        return [
            Seen(
                parts[0].layer,
                torch.stack([part.inputs for part in parts]),
                torch.stack([part.slopes for part in parts]),
                self.weights,
            )
            for parts in zip(*each, strict=True)
        ]

    def product(self, vectors: Tensors) -> list[Tensor]:
        return self._multiplied(vectors, Batch.product)

    def gauss_newton(self, vectors: Tensors) -> list[Tensor]:
        return self._multiplied(vectors, Batch.gauss_newton)

    def _multiplied(self, vectors: Tensors, multiply: Callable[[Batch, Tensors], list[Tensor]]) -> list[Tensor]:
        axis = vectors[0].ndim - self._batches[0].params[0].ndim - 1  # behind the axis of many vectors
        alone = [
            multiply(batch, [vector.select(axis, place) for vector in vectors])
            for place, batch in enumerate(self._batches)
        ]
        return _stacked(alone, axis)


@contextmanager
def _differentiated_twice() -> Iterator[None]:
    """Say what to do where torch knows a function's slope and not that one's own."""
    try:
        yield
    except RuntimeError as error:
        if UNKNOWN not in str(error):
            raise
        raise RuntimeError(
            f"{str(error).splitlines()[0]}: products with curvature need it; if it is attention that torch fuses, run the "
            "model in `with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):`"
        ) from error


def _dense(found: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients that are to be differentiated. Raise RuntimeError for sparse ones, which torch cannot."""
    if any(grad.is_sparse for grad in found):
        raise RuntimeError("products with curvature are not of sparse gradients; use sparse=False in the embedding")
    return list(found)


def _beside(weights: Tensor, like: Tensor) -> Tensor:
    """Return weights (*, n) with the axes and the precision that they need beside (*, n, ...)."""
    return weights.to(like.dtype).reshape(weights.shape + (1,) * (like.ndim - weights.ndim))


def _along(parts: Sequence[Tensor], axis: int) -> Tensor:
    """Return tensors stacked along an axis; of one that is a view."""
    return parts[0].unsqueeze(axis) if len(parts) == 1 else torch.stack(list(parts), dim=axis)


def _stacked(members: Sequence[Tensors], axis: int = 0) -> list[Tensor]:
    return [torch.stack(parts, dim=axis) for parts in zip(*members, strict=True)]


def _pullback(outputs: Tensors, inputs: Tensors, vectors: Tensors) -> list[Tensor]:
    """Propagate vectors (*, ...), or many (c, *, ...) in one go, from outputs back to inputs; zero where none depends."""
    many = vectors[0].shape[: vectors[0].ndim - outputs[0].ndim]
    pairs = [(output, vector) for output, vector in zip(outputs, vectors, strict=True) if output.requires_grad]
    if not pairs:
        return [each.new_zeros(many + each.shape) for each in inputs]
    own, along = zip(*pairs, strict=True)
    found = torch.autograd.grad(own, inputs, along, retain_graph=True, allow_unused=True, is_grads_batched=bool(many))
    return [each.new_zeros(many + each.shape) if new is None else new for new, each in zip(found, inputs, strict=True)]
