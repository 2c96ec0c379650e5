"""SGD with momentum as a moving average of gradients.

    g     <- g + weight_decay theta
    V     <- momentum V + (1 - momentum) g                           V starts at 0
    theta <- theta - lr V

The accumulating form at the rate lr (1 - momentum) takes the same steps.

Source: Polyak, Some methods of speeding up the convergence of iteration methods, 1964; in this form in Kingma and Ba,
Adam, 2015, as its mean of gradients before bias correction.
Shapes: elementwise; options of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it where the momentum is tuned too: the step along a steady slope does not change with it.
"""

from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, blend, chain, scale
from .momentum import MomentumState, init


def _update(
    grads: Tensors,
    state: MomentumState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], MomentumState]:
    velocity = [blend(past, grad, hyper["momentum"]) for grad, past in zip(grads, state.velocity, strict=True)]
    return [scale(average, hyper["lr"]) for average in velocity], MomentumState(velocity)


RULE = chain(l2, Rule(init, _update))
