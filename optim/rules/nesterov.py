"""SGD with Nesterov momentum, in the form of torch.optim.SGD(nesterov=True).

    g     <- g + weight_decay theta
    v     <- momentum v + g
    theta <- theta - lr (g + momentum v)

Source: Nesterov, 1983; Sutskever et al., On the importance of initialization and momentum in deep learning, 2013.
Shapes: elementwise; options of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it instead of momentum when the problem is ill-conditioned or the rate is high: it overshoots less.
"""

from torch import Tensor

from ..links.decay import l2
from ..transform import Hyper, Rule, Tensors, align, chain, scale
from .momentum import MomentumState, accumulate, init


def _update(
    grads: Tensors,
    state: MomentumState,
    params: Tensors,  # noqa: ARG001 - every rule takes them
    hyper: Hyper,
) -> tuple[list[Tensor], MomentumState]:
    velocity = accumulate(grads, state, hyper)
    momentum = hyper["momentum"]
    ahead = [grad + past * align(momentum, past) for grad, past in zip(grads, velocity, strict=True)]
    return [scale(direction, hyper["lr"]) for direction in ahead], MomentumState(velocity)


RULE = chain(l2, Rule(init, _update))
