"""What compiled steps need of members' optimizers: the numbers of every step laid out beforehand, as `optim.in_place` has them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor

from optim.in_place import corrections
from optim.transform import Hyper
from training.compiled.kernels import ADAM, MOMENTUM, NESTEROV, SGD, STAY

Array: TypeAlias = NDArray[Any]


class Moves(NamedTuple):
    """Of P members that one optimizer steps: numbers by step (steps, P), by member (P,), and their state (P, D), in place.

    A step takes the slope g, weight `decay` added, and adds `lr` times a direction to the parameters, `kept` times what
    they were. `one` and `two` are the momentum, or the shares of g and its square that Adam's averages take in.
    """

    kind: int
    lr: Array
    kept: Array
    eps: Array
    decay: Array
    one: Array
    two: Array
    first: Array
    second: Array


# (rows (P, D), state, hyperparameters (P,), rates (steps, P), steps that each takes (P,)) -> moves.
# The state counts the steps as taken already.
Prepare: TypeAlias = Callable[[Tensor, Any, Hyper, Tensor, Tensor], Moves]


def still_moves(rows: Tensor) -> Moves:
    """Return moves that change nothing: gradients alone are wanted."""
    return _moves(STAY, rows, rows.new_zeros(0, len(rows)))


def _sgd(rows: Tensor, state: Any, hyper: Hyper, rates: Tensor, steps: Tensor) -> Moves:  # noqa: ANN401, ARG001
    return _moves(SGD, rows, -rates, decay=hyper["weight_decay"])


def _heavy(kind: int) -> Prepare:
    def prepare(rows: Tensor, state: Any, hyper: Hyper, rates: Tensor, steps: Tensor) -> Moves:  # noqa: ANN401, ARG001
        velocity: Tensor = state[1].velocity[0]
        return _moves(kind, rows, -rates, decay=hyper["weight_decay"], one=hyper["momentum"], first=velocity)

    return prepare


def _adam(rows: Tensor, state: Any, hyper: Hyper, rates: Tensor, steps: Tensor) -> Moves:  # noqa: ANN401
    on = hyper["bias_correction"].bool()
    first, second = (torch.where(on, each, 1.0) for each in corrections(state[1].step, hyper, rates))
    return _adaptive(rows, state[1], hyper, rates, steps, first, second, decay=hyper["weight_decay"])


def _adamw(rows: Tensor, state: Any, hyper: Hyper, rates: Tensor, steps: Tensor) -> Moves:  # noqa: ANN401
    first, second = corrections(state[0].step, hyper, rates)
    return _adaptive(rows, state[0], hyper, rates, steps, first, second, kept=1 - rates * hyper["weight_decay"])


def _adaptive(
    rows: Tensor,
    own: Any,  # noqa: ANN401 - an AdamState
    hyper: Hyper,
    rates: Tensor,
    steps: Tensor,
    first: Tensor,
    second: Tensor,
    **given: Tensor,
) -> Moves:
    root = second.sqrt()
    own.step.add_(steps)
    return _moves(
        ADAM,
        rows,
        -rates * root / first,
        eps=hyper["eps"] * root,
        one=1 - hyper["beta1"],
        two=1 - hyper["beta2"],
        first=own.mean[0],
        second=own.square[0],
        **given,
    )


def _moves(
    kind: int, rows: Tensor, lr: Tensor, *, first: Tensor | None = None, second: Tensor | None = None, **given: Tensor
) -> Moves:
    """Bring numbers into the type of the rows; those that a kind does not use change nothing."""
    nothing, members = rows.new_empty(len(rows), 0), rows.new_zeros(len(rows))
    unused = {
        "kept": torch.ones_like(lr),
        "eps": torch.zeros_like(lr),
        "decay": members,
        "one": members,
        "two": members,
    }
    numbers = (each.to(rows.dtype).contiguous().numpy() for each in (lr, *(unused | given).values()))
    # The state itself, no copy: it is overwritten.
    return Moves(kind, *numbers, *((nothing if each is None else each).numpy() for each in (first, second)))


MOVES: Mapping[str, Prepare] = MappingProxyType(
    {"sgd": _sgd, "momentum": _heavy(MOMENTUM), "nesterov": _heavy(NESTEROV), "adam": _adam, "adamw": _adamw}
)
