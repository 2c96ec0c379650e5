"""Optimizers that precondition by a matrix that they learn step by step, and step along the result with momentum."""

from ...records import OptimizerInfo, Option
from ..shared import SOME, beta2, count, decay, momentum, rate
from .options import damping, intervals, past, region


def _learned(default: float, *, search: tuple[float, float]) -> tuple[Option, ...]:
    low, high = search
    return (
        rate(1e-2, search=(1e-3, 0.1)),
        momentum(0.9),
        Option(
            "precond_lr", "float", default, 0.0, 1.0,
            low_open=True, search_low=low, search_high=high, scale="log", search_from=SOME,
            title="Rate at which the preconditioner is learned; its largest slope counts as 1",
        ),
        Option(
            "slope_beta", "float", 0.9, 0.0, 1.0, high_open=True,
            title="Weight of the past in the size that slopes are measured by; 0 takes each for itself",
        ),
        Option("init_scale", "float", 0.0, 0.0, 1e6,
               title="What Q is to begin with, times the identity; 0 takes what suits the first pair"),
        damping(1e-3, search=(1e-6, 1e-1)),
        Option("pairs", "choice", "hessian", choices=("hessian", "whitening"),
               title="What it is learned from: products of random vectors with the Hessian, or gradients"),
        region(),
        *intervals(1),
        decay(0.0, search=(1e-5, 5e-4)),
    )  # fmt: skip


OPTIMIZERS = (
    OptimizerInfo(
        name="shampoo",
        title="Shampoo",
        options=(
            rate(1e-3, search=(1e-5, 1e-2)),
            momentum(0.9),
            Option(
                "ridge", "float", 1e-6, 0.0, 1.0,
                low_open=True, search_low=1e-12, search_high=1e-3, scale="log", search_from=SOME,
                title="Added to every eigenvalue, as a part of the largest",
            ),
            past(0.95),
            Option("grafting", "choice", "adam", choices=("none", "sgd", "adam"),
                   title="Whose length the step of each parameter has: its own, the gradient's, or Adam's"),
            beta2(0.999),
            count("block_size", 256, "Longest side of a block; longer axes are cut", low=1, high=1024),
            Option("axes", "choice", "matrix", choices=("matrix", "each"),
                   title="What kernels of convolutions are whitened along: their first axis and all others, or each"),
            Option("root", "choice", "eigendecomposition", choices=("eigendecomposition", "newton"),
                   title="How roots are computed: on a CPU by the first, where only products are fast by the other"),
            *intervals(),
            decay(0.0, search=(1e-5, 5e-4)),
        ),
        source="Gupta, Koren and Singer, Shampoo: Preconditioned stochastic tensor optimization, 2018 "
        "(arXiv 1802.09568); Anil et al., Scalable second order optimization for deep learning, 2020 (arXiv 2002.09018)",
        when_to_use="For networks of any kind of layer where steps should count: it looks at gradients alone.",
    ),
    OptimizerInfo(
        name="psgd",
        title="PSGD, Kronecker factors",
        options=_learned(0.1, search=(1e-2, 0.1)),
        source="Li, Preconditioned stochastic gradient descent, 2015 (arXiv 1512.04202); Li, Preconditioner on matrix Lie "
        "group for SGD, 2018 (arXiv 1809.10232)",
        when_to_use="Where curvature is of any sign and gradients are noisy; with pairs of gradients it costs no second pass.",
    ),
    OptimizerInfo(
        name="psgd_full",
        title="PSGD, one factor for all parameters",
        options=_learned(2e-2, search=(1e-3, 0.1)),
        source="Li, Preconditioned stochastic gradient descent, 2015 (arXiv 1512.04202)",
        when_to_use="For small and ill-conditioned models, of at most some thousand parameters.",
    ),
    OptimizerInfo(
        name="kbfgs",
        title="K-BFGS",
        options=(
            rate(3e-2, search=(3e-3, 0.3)),
            momentum(0.9),
            damping(1e-2, search=(1e-6, 1.0)),
            past(0.9),
            Option("mu1", "float", 0.2, 0.0, 1.0, low_open=True, high_open=True,
                   title="How far slopes may change against the step before the pair is damped, as Powell does"),
            region(1e-2),
            *intervals(1),
            decay(0.0, search=(1e-5, 5e-4)),
        ),
        source="Goldfarb, Ren and Bahamou, Practical quasi-Newton methods for training deep neural networks, 2020 "
        "(arXiv 2006.08877)",
        when_to_use="In place of K-FAC where inverses are dear: it learns them, by a second pass over each batch.",
        layered=True,
    ),
)  # fmt: skip
