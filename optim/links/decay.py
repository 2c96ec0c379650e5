"""Weight decay: as a term in the gradient, or of the parameters themselves.

    l2          g     <- g + weight_decay theta                      before the rule
    decoupled   theta <- theta - lr weight_decay theta               beside what the rule does

Source of the second: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.
"""

from torch import Tensor

from ..transform import Hyper, Rule, Tensors, align, nothing, off


def _add(grads: Tensors, state: tuple[()], params: Tensors, hyper: Hyper) -> tuple[list[Tensor], tuple[()]]:
    decay = hyper["weight_decay"]
    if off(decay):
        return list(grads), state
    return [grad + param * align(decay, param) for grad, param in zip(grads, params, strict=True)], state


def _shrink(grads: Tensors, state: tuple[()], params: Tensors, hyper: Hyper) -> tuple[list[Tensor], tuple[()]]:
    shrink = hyper["lr"] * hyper["weight_decay"]
    if off(shrink):
        return list(grads), state
    return [step - param * align(shrink, param) for step, param in zip(grads, params, strict=True)], state


l2 = Rule(nothing, _add)
decoupled = Rule(nothing, _shrink)
