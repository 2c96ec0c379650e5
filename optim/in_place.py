"""The commonest rules as steps that overwrite parameters and state: fewer passes over memory, and none that is new.

For a population that owns its tensors, one long vector a member: rows (P, D). Beside each stands the pure rule of the
same name, which it must equal to rounding. A step may overwrite the gradients, too.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .transform import Hyper, align, off

# (rows, grads, state, hyper) -> state, whose tensors are those passed in or overwritten in their place.
Step: TypeAlias = Callable[[Tensor, Tensor, Any, Hyper], Any]


def _sgd(rows: Tensor, grads: Tensor, state: Any, hyper: Hyper) -> Any:  # noqa: ANN401 - the state of any rule
    _decay(grads, rows, hyper)
    _move(rows, grads, hyper["lr"])
    return state


def _momentum(rows: Tensor, grads: Tensor, state: Any, hyper: Hyper) -> Any:  # noqa: ANN401
    _move(rows, _accumulated(rows, grads, state, hyper), hyper["lr"])
    return state


def _nesterov(rows: Tensor, grads: Tensor, state: Any, hyper: Hyper) -> Any:  # noqa: ANN401
    velocity = _accumulated(rows, grads, state, hyper)
    _move(rows, grads.addcmul_(velocity, align(hyper["momentum"], grads)), hyper["lr"])
    return state


def _accumulated(rows: Tensor, grads: Tensor, state: Any, hyper: Hyper) -> Tensor:  # noqa: ANN401
    _decay(grads, rows, hyper)
    velocity: Tensor = state[1].velocity[0]
    return velocity.mul_(align(hyper["momentum"], velocity)).add_(grads)


def _adam(rows: Tensor, grads: Tensor, state: Any, hyper: Hyper) -> Any:  # noqa: ANN401
    _decay(grads, rows, hyper)
    own, on = state[1], hyper["bias_correction"].bool()
    step = own.step + 1
    first, second = (torch.where(on, 1 - hyper[beta] ** step, 1.0) for beta in ("beta1", "beta2"))
    _adaptive(rows, grads, own, hyper, first, second)
    return (state[0], own._replace(step=step))


def _adamw(rows: Tensor, grads: Tensor, state: Any, hyper: Hyper) -> Any:  # noqa: ANN401
    shrink = hyper["lr"] * hyper["weight_decay"]
    if not off(shrink):
        rows.mul_(align(1 - shrink, rows))
    own = state[0]
    step = own.step + 1
    _adaptive(rows, grads, own, hyper, 1 - hyper["beta1"] ** step, 1 - hyper["beta2"] ** step)
    return (own._replace(step=step), state[1])


def _adaptive(rows: Tensor, grads: Tensor, own: Any, hyper: Hyper, first: Tensor, second: Tensor) -> None:  # noqa: ANN401
    """Take Adam's step with these corrections of its two averages, as `rules.adam` does."""
    (mean,), (square,) = own.mean, own.square
    mean.lerp_(grads, align(1 - hyper["beta1"], mean))
    square.lerp_(grads.mul_(grads), align(1 - hyper["beta2"], square))
    root = second.sqrt()
    below = torch.sqrt(square, out=grads).add_(align(hyper["eps"] * root, square))
    _move(rows, torch.div(mean, below, out=below), hyper["lr"] * root / first)


def _decay(grads: Tensor, rows: Tensor, hyper: Hyper) -> None:
    decay = hyper["weight_decay"]
    if not off(decay):
        grads.addcmul_(rows, align(decay, rows))


def _move(rows: Tensor, direction: Tensor, lr: Tensor) -> None:
    rows.addcmul_(direction, align(-lr, rows))


IN_PLACE: Mapping[str, Step] = MappingProxyType(
    {"sgd": _sgd, "momentum": _momentum, "nesterov": _nesterov, "adam": _adam, "adamw": _adamw}
)
