"""Natural gradients whose curvature is dense, in blocks, or diagonal."""

from ...records import OptimizerInfo
from ..shared import decay, momentum, rate
from .options import damping, fisher, intervals, past, region

_AMARI = "Amari, Natural gradient works efficiently in learning, 1998"


# Damping is larger than that of K-FAC, whose factors each get the root of theirs: here nothing else keeps directions that
# few batches have shown from growing without measure.
_OPTIONS = (
    rate(5e-2, search=(1e-3, 0.5)),
    momentum(0.9),
    damping(1e-1, search=(1e-3, 1.0)),
    past(0.95),
    region(),
    *fisher("sampled"),
    *intervals(),
    decay(0.0, search=(1e-5, 5e-4)),
)


OPTIMIZERS = (
    OptimizerInfo(
        name="ngd_full",
        title="Natural gradient",
        options=_OPTIONS,
        source=_AMARI,
        when_to_use="As the measure of what curvature can give, for networks of up to 8192 parameters in all.",
        layered=True,
    ),
    OptimizerInfo(
        name="ngd_layer",
        title="Natural gradient, layer by layer",
        options=_OPTIONS,
        source=_AMARI,
        when_to_use="For networks of small layers, of up to 8192 parameters each, where K-FAC's factors are too coarse.",
        layered=True,
    ),
    OptimizerInfo(
        name="ngd_unit",
        title="Natural gradient, unit by unit",
        options=_OPTIONS,
        source="Ollivier, Riemannian metrics for neural networks I: feedforward networks, 2015 (arXiv 1303.0818)",
        when_to_use="For layers with few inputs, and where each output should adapt by itself.",
        layered=True,
    ),
    OptimizerInfo(
        name="ngd_diagonal",
        title="Natural gradient, diagonal",
        options=_OPTIONS,
        source=f"{_AMARI}; Becker and LeCun, Improving the convergence of back-propagation learning with second order "
        "methods, 1988",
        when_to_use="Where memory allows no more than one number for each parameter.",
        layered=True,
    ),
)
