"""The commonest rules as steps that overwrite parameters and state: fewer passes over memory, and none that is new.

For a population that owns its tensors, one long vector a member: rows (P, D). Beside each stands the pure rule of the
same name, which it must equal to rounding. Several steps are prepared at once: what members need of hyperparameters in
each is laid out beforehand, and a step is left with nothing but its passes over rows.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .transform import Hyper, align, off

# Takes the k-th of the steps prepared, counted from 0: overwrites rows, state, and the gradients.
Step: TypeAlias = Callable[[int], None]
# (rows, grads, state, hyper, rates) -> step: (P, D) twice, a stacked state of the rule, options (P,), rates (steps, P).
# Gradients are read from `grads` at each step.
Prepare: TypeAlias = Callable[[Tensor, Tensor, Any, Hyper, Tensor], Step]


def _sgd(rows: Tensor, grads: Tensor, state: Any, hyper: Hyper, rates: Tensor) -> Step:  # noqa: ANN401, ARG001
    lr, decay = _over(-rates, rows), _decay(rows, grads, hyper)

    def step(k: int) -> None:
        decay()
        rows.addcmul_(grads, lr[k])

    return step


def _momentum(rows: Tensor, grads: Tensor, state: Any, hyper: Hyper, rates: Tensor) -> Step:  # noqa: ANN401
    lr, decay, momentum = _over(-rates, rows), _decay(rows, grads, hyper), align(hyper["momentum"], rows)
    velocity: Tensor = state[1].velocity[0]

    def step(k: int) -> None:
        decay()
        rows.addcmul_(velocity.mul_(momentum).add_(grads), lr[k])

    return step


def _nesterov(rows: Tensor, grads: Tensor, state: Any, hyper: Hyper, rates: Tensor) -> Step:  # noqa: ANN401
    lr, decay, momentum = _over(-rates, rows), _decay(rows, grads, hyper), align(hyper["momentum"], rows)
    velocity: Tensor = state[1].velocity[0]

    def step(k: int) -> None:
        decay()
        velocity.mul_(momentum).add_(grads)
        rows.addcmul_(grads.addcmul_(velocity, momentum), lr[k])

    return step


def _adam(rows: Tensor, grads: Tensor, state: Any, hyper: Hyper, rates: Tensor) -> Step:  # noqa: ANN401
    on, decay = hyper["bias_correction"].bool(), _decay(rows, grads, hyper)
    found = (torch.where(on, each, 1.0) for each in corrections(state[1].step, hyper, rates))
    adapt = _adaptive(rows, grads, state[1], hyper, rates, *found)

    def step(k: int) -> None:
        decay()
        adapt(k)

    return step


def _adamw(rows: Tensor, grads: Tensor, state: Any, hyper: Hyper, rates: Tensor) -> Step:  # noqa: ANN401
    shrink = rates * hyper["weight_decay"]
    kept = None if off(shrink) else _over(1 - shrink, rows)
    adapt = _adaptive(rows, grads, state[0], hyper, rates, *corrections(state[0].step, hyper, rates))

    def step(k: int) -> None:
        if kept is not None:
            rows.mul_(kept[k])
        adapt(k)

    return step


def corrections(taken: Tensor, hyper: Hyper, rates: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 - beta^t for both averages, (steps, P), after so many steps were `taken`."""
    count = taken + torch.arange(1, len(rates) + 1, dtype=taken.dtype, device=taken.device).unsqueeze(-1)
    return 1 - hyper["beta1"] ** count, 1 - hyper["beta2"] ** count


def _adaptive(
    rows: Tensor,
    grads: Tensor,
    own: Any,  # noqa: ANN401 - an AdamState
    hyper: Hyper,
    rates: Tensor,
    first: Tensor,
    second: Tensor,
) -> Step:
    """Prepare Adam's steps with these corrections of its two averages, as `rules.adam` takes them."""
    (mean,), (square,), root = own.mean, own.square, second.sqrt()
    lr, eps = _over(-rates * root / first, rows), _over(hyper["eps"] * root, rows)
    new_mean, new_square = align(1 - hyper["beta1"], rows), align(1 - hyper["beta2"], rows)

    def step(k: int) -> None:
        own.step.add_(1)
        mean.lerp_(grads, new_mean)
        square.lerp_(grads.mul_(grads), new_square)
        torch.sqrt(square, out=grads).add_(eps[k])
        rows.addcmul_(torch.div(mean, grads, out=grads), lr[k])

    return step


def _decay(rows: Tensor, grads: Tensor, hyper: Hyper) -> Callable[[], object]:
    """Return what adds weight decay to the gradients."""
    if off(hyper["weight_decay"]):
        return lambda: None
    decay = align(hyper["weight_decay"], rows)
    return lambda: grads.addcmul_(rows, decay)


def _over(values: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
    """Return values (steps, P) as one (P, 1) for each step, to broadcast against the rows."""
    return values.to(rows.dtype).unsqueeze(-1).unbind()


IN_PLACE: Mapping[str, Prepare] = MappingProxyType(
    {"sgd": _sgd, "momentum": _momentum, "nesterov": _nesterov, "adam": _adam, "adamw": _adamw}
)
