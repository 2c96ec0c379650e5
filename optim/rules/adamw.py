"""AdamW: Adam with decoupled weight decay.

    theta <- theta - lr weight_decay theta - lr m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + eps)

with m, s and t as in Adam, which sees the gradient without the decay.

Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019; as torch.optim.AdamW.
Shapes: elementwise; options and the step count of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it for transformers, and wherever Adam is used with weight decay.
"""

from ..links.decay import decoupled
from ..transform import Rule, chain
from .adam import init, update

RULE = chain(Rule(init, update), decoupled)
