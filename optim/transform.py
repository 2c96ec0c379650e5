"""Update rules as pairs of pure functions, and how they compose.

A rule works on lists of tensors, one for each parameter. The same code serves one model and a population: a
population has a member axis in front of every parameter, gradient and state tensor, and hyperparameters of shape
(P,) in place of (). `align` gives a hyperparameter the trailing axes that it needs to broadcast against a parameter.

A state is a NamedTuple. Each field is either a list with one tensor for each parameter, or one tensor that belongs to
the member, such as its step count, of shape () or (P,). The state of a `chain` is the tuple of its links' states.
Members are therefore stacked, taken out and replaced along the first axis of every tensor in a state (`stack`), each
with its own step count.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

Tensors: TypeAlias = Sequence[Tensor]
Hyper: TypeAlias = Mapping[str, Tensor]
StateT = TypeVar("StateT")
ViewedT_contra = TypeVar("ViewedT_contra", contravariant=True)


class View(Protocol[ViewedT_contra]):
    """`(params, state, hyper) -> parameters` to evaluate and to keep, where they are not those that are trained."""

    def __call__(self, params: Tensors, state: ViewedT_contra, hyper: Hyper) -> list[Tensor]: ...


def nothing(params: Tensors) -> tuple[()]:  # noqa: ARG001 - an `init`
    """Make the state of a rule that keeps none."""
    return ()


# What a rule that looks may ask about a mini-batch that is better known before the pass: what is seen of layers, for which
# calls of them are recorded; slopes of the loss itself by their outputs, which come with gradients in one go; and products
# with the Hessian, for which gradients are differentiated once more.
LAYERS, SLOPES, PRODUCTS = "layers", "slopes", "products"


def slopes_always(state: object, hyper: Hyper) -> Collection[str]:  # noqa: ARG001 - an `asks`
    """Ask about layers at every step, and what the loss itself makes of them."""
    return LAYERS, SLOPES


@dataclass(frozen=True, slots=True)
class Rule(Generic[StateT]):
    """An optimizer, or a link of one: `init(params)` makes the state of one member, `update` takes one step.

    `update(grads, state, params, hyper) -> (updates, state)`; the caller adds the updates to the parameters. `grads`,
    `params` and `updates` agree in length and shapes. `hyper` holds every option of the rule by its catalog name, each of
    shape () for one model or (P,) for a population, switches as 0 or 1. Nothing passed in is changed.

    `view` is given by rules whose result is not the parameters they train, such as averages of them. All are pure.
    One that `looks` asks about the mini-batch itself: its `update` takes a fifth argument (`precondition.batch.Batch`).
    `asks(state, hyper)` says of it for what of `LAYERS`, `SLOPES` and `PRODUCTS` the step to come is to be prepared.
    `by_tensor` says that it matters where one parameter ends and the next begins, as to rules for matrices; any other
    rule may be given all parameters of a member as one long vector, and steps that in one go.
    """

    init: Callable[[Tensors], StateT]
    update: Callable[..., tuple[list[Tensor], StateT]]
    view: View[StateT] | None = None
    by_tensor: bool = False
    looks: bool = False
    asks: Callable[[StateT, Hyper], Collection[str]] = slopes_always

    def step(
        self,
        grads: Tensors,
        state: StateT,
        params: Tensors,
        hyper: Hyper,
        batch: Any,  # noqa: ANN401 - see `looks`
    ) -> tuple[list[Tensor], StateT]:
        """Return updates and the next state; `batch` goes to a rule that looks at it."""
        if not self.looks:
            return self.update(grads, state, params, hyper)
        if grads and not grads[0].is_cpu:  # options that get axes to meet tensors must lie where these do
            hyper = {name: value.to(grads[0].device) for name, value in hyper.items()}
        return self.update(grads, state, params, hyper, batch)

    def evaluated(self, params: Tensors, state: StateT, hyper: Hyper) -> list[Tensor]:
        """Return the parameters to evaluate and to keep."""
        return list(params) if self.view is None else self.view(params, state, hyper)


def chain(*links: Rule[Any]) -> Rule[tuple[Any, ...]]:
    """Compose links: each takes what the one before made of the gradients, and the last one's result is the update.

    A link that clips or adds weight decay to gradients stands before the rule; one that decays or averages parameters
    behind it. The view is that of the last link that has one.
    """
    by_tensor, looks = any(link.by_tensor for link in links), any(link.looks for link in links)

    def init(params: Tensors) -> tuple[Any, ...]:
        return tuple(link.init(params) for link in links)

    def update(
        grads: Tensors,
        state: tuple[Any, ...],
        params: Tensors,
        hyper: Hyper,
        batch: Any = None,  # noqa: ANN401 - for the links that look
    ) -> tuple[list[Tensor], tuple[Any, ...]]:
        kept = []
        for link, own in zip(links, state, strict=True):
            grads, own_next = link.update(grads, own, params, hyper, *((batch,) if link.looks else ()))
            kept.append(own_next)
        return list(grads), tuple(kept)

    viewed = [(index, link.view) for index, link in enumerate(links) if link.view is not None]
    if not viewed:
        return Rule(init, update, by_tensor=by_tensor, looks=looks)
    index, view = viewed[-1]

    def last_view(params: Tensors, state: tuple[Any, ...], hyper: Hyper) -> list[Tensor]:
        return view(params, state[index], hyper)

    return Rule(init, update, last_view, by_tensor=by_tensor, looks=looks)


def align(hyper: Tensor, like: Tensor) -> Tensor:
    """Shape a hyperparameter of shape (P,) as (P, 1, ..., 1) so that it broadcasts against `like` of shape (P, ...).

    A scalar is returned as it is where torch computes with it in the precision of `like`: where that has axes. The
    others are cast to it.
    """
    if hyper.ndim == 0:
        return hyper if like.ndim else hyper.to(like.dtype)
    return hyper.to(like.dtype).reshape(hyper.shape + (1,) * (like.ndim - hyper.ndim))


def zeros(params: Tensors) -> list[Tensor]:
    """Return a zero tensor like each parameter."""
    return [torch.zeros_like(param, memory_format=torch.preserve_format) for param in params]


def count(beside: Tensors = ()) -> Tensor:
    """Return a step count of zero; float64, so that powers of betas near 1 stay exact to rounding.

    It lies on the device of the parameters `beside` which it is kept, else on the CPU.
    """
    return torch.zeros((), dtype=torch.float64, device=beside[0].device if beside else None)


def scale(direction: Tensor, lr: Tensor) -> Tensor:
    """Turn a direction of ascent into an update."""
    return direction * align(-lr, direction)


def blend(past: Tensor, new: Tensor, beta: Tensor) -> Tensor:
    """Return the moving average `beta * past + (1 - beta) * new`, in one pass over the tensors."""
    return torch.lerp(past, new, 1 - float(beta) if beta.ndim == 0 else align(1 - beta, new))


def within(members: int, tensor: Tensor) -> tuple[int, ...]:
    """Return the axes of `tensor` inside a member, `members` being the number of member axes (`lr.ndim`: 0 or 1)."""
    return tuple(range(members, tensor.ndim))


def off(hyper: Tensor) -> bool:
    """Say whether a term weighted by `hyper` may be left out: it is zero for all, and finding out costs nothing."""
    return hyper.device.type == "cpu" and not bool(hyper.any())


def stack(states: Sequence[Any]) -> Any:  # noqa: ANN401 - of the type of the states
    """Stack the states of P members into one with a member axis in front. All must come from one rule."""
    first = states[0]
    if isinstance(first, Tensor):
        return torch.stack(list(states))
    parts = [stack(field) for field in zip(*states, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
