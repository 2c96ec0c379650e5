"""NAdamW: NAdam with decoupled weight decay.

    theta <- theta - lr weight_decay theta - the step of NAdam, which sees the gradient without the decay

Source: Dozat, 2016, and Loshchilov and Hutter, 2019, as combined in Dahl et al., Benchmarking Neural Network Training
Algorithms, 2023; as torch.optim.NAdam(decoupled_weight_decay=True).
Shapes: elementwise; options, step count and momenta of shape () or (P,) against parameters of shape (...) or (P, ...).
Use it where AdamW is used and its betas are tuned as well.
"""

from ..links.decay import decoupled
from ..transform import Rule, chain
from .nadam import init, update

RULE = chain(Rule(init, update), decoupled)
