"""Schedule-Free SGD, with L2 weight decay at the parameters that are trained.

    z     <- z - lr (g + weight_decay y)                         g at y
    x     <- weighted mean of all z                              as in schedule_free.py
    y     <- (1 - momentum) z + momentum x

Source: Defazio et al., The Road Less Scheduled, 2024; weights and decay as in the authors' SGDScheduleFreeReference.
Shapes: elementwise; options and sums of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it where the number of steps is not known beforehand, with rates 10 to 50 times those of SGD with a schedule.
"""

from typing import NamedTuple

from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, chain, count, scale
from .schedule_free import averaged, copies, moved, weigh


class ScheduleFreeSgdState(NamedTuple):
    """The largest rate and the sum of weights so far; z and x of each parameter."""

    rate_max: Tensor
    weight_sum: Tensor
    z: list[Tensor]
    x: list[Tensor]


def _init(params: Tensors) -> ScheduleFreeSgdState:
    return ScheduleFreeSgdState(count(), count(), copies(params), copies(params))


def _update(
    grads: Tensors, state: ScheduleFreeSgdState, params: Tensors, hyper: Hyper
) -> tuple[list[Tensor], ScheduleFreeSgdState]:
    lr = hyper["lr"]
    rate_max, weight_sum, share = weigh(state.rate_max, state.weight_sum, lr)
    z = [point + scale(grad, lr) for grad, point in zip(grads, state.z, strict=True)]
    x = averaged(state.x, z, share)
    return moved(params, z, x, hyper["momentum"]), ScheduleFreeSgdState(rate_max, weight_sum, z, x)


RULE = chain(l2, Rule(_init, _update, lambda _params, state, _hyper: state.x))
