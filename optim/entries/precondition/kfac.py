"""K-FAC, which steps along its preconditioned gradients with momentum."""

from ...records import OptimizerInfo
from ..shared import decay, momentum, rate
from .options import damping, fisher, intervals, past, region

OPTIMIZERS = (
    OptimizerInfo(
        name="kfac",
        title="K-FAC",
        options=(
            rate(1e-2, search=(1e-3, 0.5)),
            momentum(0.9),
            damping(1e-3, search=(1e-6, 1e-1)),
            past(0.95),
            region(),
            *fisher("sampled"),
            *intervals(),
            decay(0.0, search=(1e-5, 5e-4)),
        ),
        source="Martens and Grosse, Optimizing Neural Networks with Kronecker-factored Approximate Curvature, 2015 "
        "(arXiv 1503.05671)",
        when_to_use="For fully connected and convolutional networks where steps should count, with batches not too small.",
        layered=True,
    ),
)  # fmt: skip
