"""Adam and its relatives."""

from ..records import OptimizerInfo
from .shared import beta1, beta2, decay, eps, rate

OPTIMIZERS = (
    OptimizerInfo(
        name="adam",
        title="Adam",
        options=(rate(1e-3, search=(1e-4, 1e-2)), beta1(), beta2(), eps(1e-8), decay(0.0, search=(1e-7, 1e-3))),
        source="Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015 (arXiv 1412.6980)",
        when_to_use="As a first choice that works with little tuning.",
    ),
    OptimizerInfo(
        name="adamw",
        title="AdamW",
        options=(
            rate(1e-3, search=(1e-4, 1e-2)),
            beta1(),
            beta2(),
            eps(1e-8),
            decay(1e-2, search=(5e-3, 1.0), decoupled=True),
        ),
        source="Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019 (arXiv 1711.05101)",
        when_to_use="For transformers, and wherever Adam is used with weight decay.",
    ),
)
