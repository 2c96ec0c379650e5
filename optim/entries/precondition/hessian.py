"""Optimizers that solve with the curvature of all parameters together, and step along the solution with momentum."""

from ...records import OptimizerInfo, Option
from ..shared import FEW, MANY, SOME, decay, momentum, rate, share
from .options import damping, intervals, past, region


def matrix() -> Option:
    return Option(
        "matrix", "choice", "gauss_newton", choices=("gauss_newton", "hessian"),
        title="Whose products with vectors: the Gauss-Newton matrix's, which has no negative curvature, or the Hessian's",
    )  # fmt: skip


def warm_start() -> Option:
    return Option(
        "warm_start", "float", 0.0, 0.0, 1.0, search_low=0.0, search_high=1.0, search_from=MANY,
        title="Share of the last solution that the next one begins at; high ones are for large batches and no negative curvature",
    )  # fmt: skip


def effort(name: str, default: int, title: str) -> Option:
    return Option(
        name, "int", default, 1, 10_000, search_low=3, search_high=100, scale="log", search_from=SOME, title=title,
    )  # fmt: skip


def whole(least: float) -> tuple[Option, ...]:
    return (
        rate(1.0, search=(1e-2, 1.0)),
        momentum(0.0),
        damping(least, search=(1e-3, 1e1)),
        past(0.9),
        region(3e-2),
        *intervals(),
        decay(0.0, search=(1e-5, 5e-4)),
    )


OPTIMIZERS = (
    OptimizerInfo(
        name="newton",
        title="Newton's method",
        options=whole(1.0),
        source="Newton's method with the whole Hessian of a mini-batch; Nocedal and Wright, Numerical Optimization, 2006, "
        "chapter 3",
        when_to_use="For at most 4096 parameters and losses that are convex: elsewhere it is drawn to saddle points.",
    ),
    OptimizerInfo(
        name="absolute_newton",
        title="Newton's method with the absolute Hessian",
        options=whole(0.1),
        source="Dauphin et al., Identifying and attacking the saddle point problem in high-dimensional non-convex "
        "optimization, 2014 (arXiv 1406.2572)",
        when_to_use="For at most 4096 parameters, whatever the loss.",
    ),
    OptimizerInfo(
        name="hessian_free",
        title="Hessian-free optimization",
        options=(
            rate(1.0, search=(1e-2, 1.0)),
            momentum(0.0),
            damping(1e-1, search=(1e-4, 1e1)),
            matrix(),
            effort("iterations", 10, "Products with the curvature in one step at most"),
            Option(
                "tolerance", "float", 1e-2, 0.0, 1.0, search_low=1e-4, search_high=0.3, scale="log", search_from=MANY,
                title="Length of what is unsolved, as a share of the gradient's, at which to stop",
            ),
            warm_start(),
            region(3e-2),
            decay(0.0, search=(1e-5, 5e-4)),
        ),
        source="Martens, Deep learning via Hessian-free optimization, 2010; warm starts as in Martens and Sutskever, "
        "Training Deep and Recurrent Networks with Hessian-Free Optimization, 2012",
        when_to_use="For networks of any kind and size with large batches, where steps should count and memory is short.",
    ),
    OptimizerInfo(
        name="neumann",
        title="Neumann series (LiSSA)",
        options=(
            rate(1.0, search=(1e-2, 1.0)),
            momentum(0.0),
            damping(1e-1, search=(1e-4, 1e1)),
            matrix(),
            effort("terms", 10, "Terms of the series, each a product with the curvature"),
            Option(
                "scale", "float", 10.0, 0.0, 1e12,
                low_open=True, search_low=1.0, search_high=1e3, scale="log", search_from=FEW,
                title="What the curvature is divided by; best near half of its largest eigenvalue, raised where too small",
            ),
            warm_start(),
            region(3e-2),
            decay(0.0, search=(1e-5, 5e-4)),
        ),
        source="Agarwal, Bullins and Hazan, Second-Order Stochastic Optimization for Machine Learning in Linear Time, 2017 "
        "(arXiv 1602.03943)",
        when_to_use="Where conjugate gradients suffer from the noise of small batches, and the largest eigenvalue is known.",
    ),
    OptimizerInfo(
        name="curveball",
        title="CurveBall",
        options=(
            rate(1.0, search=(1e-2, 1.0)),
            momentum(0.0),
            damping(1e-1, search=(1e-4, 1e1)),
            matrix(),
            Option(
                "coefficients", "choice", "closed_form", choices=("fixed", "closed_form"),
                title="Whether rho and beta are those given or, at each step, those that lead lowest",
            ),
            share("rho", 0.9, "Weight of the last direction, where fixed", search=(0.7, 0.99), search_from=SOME),
            Option(
                "beta", "float", 0.01, 0.0, 1e6,
                low_open=True, search_low=1e-3, search_high=1e-1, scale="log", search_from=SOME,
                title="Step of the direction towards the solution, where fixed",
            ),
            region(3e-2),
            decay(0.0, search=(1e-5, 5e-4)),
        ),
        source="Henriques, Ehrhardt, Albanie and Vedaldi, Small steps and giant leaps: Minimal Newton solvers for Deep "
        "Learning, 2018 (arXiv 1805.08095)",
        when_to_use="For second-order steps at the price of two products with the curvature; leave momentum at 0, it has its own.",
    ),
)  # fmt: skip
