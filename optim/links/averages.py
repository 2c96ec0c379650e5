"""Averages of the parameters over training, to evaluate and to keep in place of the last ones.

    ema   a <- ema a + (1 - ema) theta                    a starts at the parameters before training
    swa   a <- mean of theta after each step from step `swa_start` on; before that, theta itself

Both stand behind the rule in a chain, pass its updates through, and give the average as the view. An `ema` of 0 is
the parameters themselves.
Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992; Izmailov et al., Averaging
Weights Leads to Wider Optima and Better Generalization, 2018.
Shapes: options of shape () or (P,) against parameters of shape (...) or (P, ...).
"""

from typing import NamedTuple

from torch import Tensor

from ..transform import Hyper, Rule, Tensors, blend, count


class EmaState(NamedTuple):
    """The moving average of each parameter."""

    average: list[Tensor]


class SwaState(NamedTuple):
    """Steps taken so far, and the mean of each parameter."""

    step: Tensor
    average: list[Tensor]


def _ema_update(grads: Tensors, state: EmaState, params: Tensors, hyper: Hyper) -> tuple[list[Tensor], EmaState]:
    average = [
        blend(past, param + step, hyper["ema"]) for past, param, step in zip(state.average, params, grads, strict=True)
    ]
    return list(grads), EmaState(average)


def _swa_update(grads: Tensors, state: SwaState, params: Tensors, hyper: Hyper) -> tuple[list[Tensor], SwaState]:
    step = state.step + 1
    # The first parameters that count replace what stood there: the past weighs 0, then 1/2, 2/3, ...
    past_weight = 1 - 1 / (step - hyper["swa_start"]).clamp(min=1)
    average = [
        blend(past, param + change, past_weight)
        for past, param, change in zip(state.average, params, grads, strict=True)
    ]
    return list(grads), SwaState(step, average)


ema = Rule(
    init=lambda params: EmaState([param.detach().clone() for param in params]),
    update=_ema_update,
    view=lambda _params, state, _hyper: state.average,
)
swa = Rule(
    init=lambda params: SwaState(count(), [param.detach().clone() for param in params]),
    update=_swa_update,
    view=lambda _params, state, _hyper: state.average,
)
