"""The exponential moving average of a signal, at once and step by step.

    A_i = beta A_(i-1) + (1 - beta) X_i,   A_0 = 0
    w_i = beta w_(i-1) + (1 - beta),       w_0 = 0       the weight of all values so far, 1 - beta^i
    with bias correction: A_i / w_i

The correction takes away the pull towards 0 of the cold start. The last n values together weigh 1 - beta^n; at
n = 1 / (1 - beta), the window, this is 0.651 for beta = 0.9 and falls towards 1 - 1/e = 0.632 for beta near 1.
Source of the correction: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015 (arXiv 1412.6980).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .records import Option
from .shapes import broadcast_shape

_BETA = Option("beta", "float", 0.9, 0.0, 1.0, high_open=True)


class AverageState(NamedTuple):
    """The average without correction, and the weight of all values so far; float64."""

    average: Tensor
    weight: Tensor


def init() -> AverageState:
    """Return the state before the first value; it takes the shape of what it averages."""
    zero = torch.zeros((), dtype=torch.float64)
    return AverageState(zero, zero)


def update(state: AverageState, value: float | Tensor, beta: float | Tensor) -> AverageState:
    """Return the state after one more value. Raise ValueError unless beta, which may be a tensor, is in [0, 1)."""
    return _advanced(state, torch.as_tensor(value, dtype=torch.float64), _checked(beta))


def read(state: AverageState, *, bias_correction: bool = False) -> Tensor:
    """Return the average; 0 before the first value."""
    if not bias_correction:
        return state.average
    return state.average / torch.where(state.weight > 0, state.weight, 1.0)


def moving_average(values: Tensor, beta: float | Tensor, bias_correction: bool = False) -> Tensor:
    """Return the moving average along the last axis, float64.

    `values` of shape (..., N) and beta of shape (...), one for each member, broadcast in front of that axis. Raise
    ValueError unless beta is in [0, 1), for `values` without an axis, and for shapes that do not broadcast.
    """
    if values.ndim == 0:
        raise ValueError("values must have an axis to average along, got a tensor of shape ()")
    weight, signal = _checked(beta), values.to(torch.float64)
    front = broadcast_shape({"values": signal.shape[:-1], "beta": weight.shape})
    averages = signal.new_empty((*front, signal.shape[-1]))
    state = init()
    for index in range(signal.shape[-1]):
        state = _advanced(state, signal[..., index], weight)
        averages[..., index] = read(state, bias_correction=bias_correction)
    return averages


def window(beta: float | Tensor) -> Tensor:
    """Return 1 / (1 - beta): over about how many values an average of this beta reaches."""
    return 1 / (1 - _checked(beta))


def _advanced(state: AverageState, value: Tensor, beta: Tensor) -> AverageState:
    return AverageState(beta * state.average + (1 - beta) * value, beta * state.weight + (1 - beta))


def _checked(beta: float | Tensor) -> Tensor:
    weight = torch.as_tensor(beta, dtype=torch.float64)
    for element in weight.flatten().tolist():
        wrong = _BETA.check(element)
        if wrong is not None:
            raise ValueError(f"beta: {wrong}")
    return weight
