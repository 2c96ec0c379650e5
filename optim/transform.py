"""Update rules as pure pairs of functions, and the two ways weight decay is added to one.

A rule works on lists of tensors, one for each parameter. The same code serves one model and a population: a
population has a member axis in front of every parameter, gradient and state tensor, and hyperparameters of shape
(P,) in place of (). `align` gives a hyperparameter the trailing axes that it needs to broadcast against a parameter.

A state is a flat NamedTuple. Each field is either a list with one tensor for each parameter, or one tensor that
belongs to the member, such as its step count, of shape () or (P,). Members are therefore stacked, taken out and
replaced along the first axis of each of these tensors (`stack`), each with its own step count.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

Tensors: TypeAlias = Sequence[Tensor]
Hyper: TypeAlias = Mapping[str, Tensor]
StateT = TypeVar("StateT", bound=tuple[Any, ...])
NamedT = TypeVar("NamedT", bound=tuple[Any, ...])


class Update(Protocol[StateT]):
    """`(grads, state, params, hyper) -> (updates, state)`; the caller adds the updates to the parameters.

    `grads`, `params` and `updates` agree in length and shapes. `hyper` holds every option of the rule by its catalog
    name, each of shape () for one model or (P,) for a population. Nothing passed in is changed.
    """

    def __call__(self, grads: Tensors, state: StateT, params: Tensors, hyper: Hyper) -> tuple[list[Tensor], StateT]: ...


@dataclass(frozen=True, slots=True)
class Rule(Generic[StateT]):
    """An optimizer: `init(params)` makes the state of one member, `update` takes one step. Both are pure."""

    init: Callable[[Tensors], StateT]
    update: Update[StateT]


def align(hyper: Tensor, like: Tensor) -> Tensor:
    """Shape a hyperparameter of shape (P,) as (P, 1, ..., 1) so that it broadcasts against `like` of shape (P, ...).

    A scalar is returned as it is: torch computes with it in the precision of `like`. The others are cast to it.
    """
    if hyper.ndim == 0:
        return hyper
    return hyper.to(like.dtype).reshape(hyper.shape + (1,) * (like.ndim - hyper.ndim))


def zeros(params: Tensors) -> list[Tensor]:
    """Return a zero tensor like each parameter."""
    return [torch.zeros_like(param, memory_format=torch.preserve_format) for param in params]


def count() -> Tensor:
    """Return a step count of zero; float64, so that powers of betas near 1 stay exact to rounding."""
    return torch.zeros((), dtype=torch.float64)


def scale(direction: Tensor, lr: Tensor) -> Tensor:
    """Turn a direction of ascent into an update."""
    return direction * align(-lr, direction)


def blend(past: Tensor, new: Tensor, beta: Tensor) -> Tensor:
    """Return the moving average `beta * past + (1 - beta) * new`."""
    return past * align(beta, past) + new * align(1 - beta, new)


def with_l2(rule: Rule[StateT]) -> Rule[StateT]:
    """Add `weight_decay * param` to the gradient before `rule` sees it (L2 regularization)."""
    return Rule(rule.init, partial(_decay_gradient, rule.update))


def with_decoupled_decay(rule: Rule[StateT]) -> Rule[StateT]:
    """Shrink each parameter by `lr * weight_decay` of itself beside what `rule` does (Loshchilov and Hutter, 2019)."""
    return Rule(rule.init, partial(_decay_params, rule.update))


def _decay_gradient(
    inner: Update[StateT], grads: Tensors, state: StateT, params: Tensors, hyper: Hyper
) -> tuple[list[Tensor], StateT]:
    decay = hyper["weight_decay"]
    decayed = [grad + param * align(decay, param) for grad, param in zip(grads, params, strict=True)]
    return inner(decayed, state, params, hyper)


def _decay_params(
    inner: Update[StateT], grads: Tensors, state: StateT, params: Tensors, hyper: Hyper
) -> tuple[list[Tensor], StateT]:
    shrink = hyper["lr"] * hyper["weight_decay"]
    updates, state = inner(grads, state, params, hyper)
    return [step - param * align(shrink, param) for step, param in zip(updates, params, strict=True)], state


def stack(states: Sequence[NamedT]) -> NamedT:
    """Stack the states of P members into one with a member axis in front. All must come from one rule."""
    kind = type(states[0])
    fields = (
        [torch.stack(tensors) for tensors in zip(*field, strict=True)]
        if isinstance(field[0], list)
        else torch.stack(field)
        for field in zip(*states, strict=True)
    )
    return kind(*fields)
