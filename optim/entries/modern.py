"""Optimizers of recent years, beyond Adam's closest relatives."""

from ..records import OptimizerInfo, Option
from .shared import MANY, SOME, beta1, beta2, count, decay, eps, momentum, rate, share, switch

OPTIMIZERS = (
    OptimizerInfo(
        name="lion",
        title="Lion",
        options=(
            rate(1e-4, search=(1e-5, 3e-3)),
            share("beta1", 0.9, "Weight of the past in the mean that is stepped along", search=(0.5, 0.98)),
            share(
                "beta2", 0.99, "Weight of the past in the mean that is kept", search=(0.9, 0.999), search_from=MANY
            ),
            decay(0.0, search=(1e-2, 10.0), decoupled=True),
        ),
        source="Chen et al., Symbolic Discovery of Optimization Algorithms, 2023 (arXiv 2302.06675)",
        when_to_use="Where optimizer state must be small, with rates 3 to 10 times below AdamW's and as much more decay.",
    ),
    OptimizerInfo(
        name="muon",
        title="Muon",
        options=(
            rate(1e-3, search=(2e-3, 0.1)),
            share("momentum", 0.95, "Momentum: weight of the past in the mean of gradients", search=(0.9, 0.99)),
            switch("nesterov", True, "Step along the mean as it will be at the next step"),
            count("ns_steps", 5, "Newton-Schulz iterations in a step", low=1, high=99),
            switch("match_rms", False, "Make steps as large as AdamW's; use AdamW's rates with it"),
            switch("bfloat16", True, "Orthogonalise in bfloat16, as torch does, rather than in the parameters' precision"),
            Option("eps", "float", 1e-7, 0.0, 1e6, title="Smallest norm to divide a matrix by"),
            beta1(),
            beta2(),
            eps(1e-8, name="adamw_eps", title="Added to the denominator of AdamW's steps"),
            Option(
                "adamw_ratio", "float", 1.0, 0.0, 1e6,
                search_low=0.01, search_high=1.0, scale="log", search_from=SOME,
                title="Learning rate of vectors and scalars, which AdamW steps, as a multiple of lr",
            ),
            decay(0.1, search=(1e-3, 0.2), decoupled=True),
        ),
        source="Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024; "
        "Liu et al., Muon is Scalable for LLM Training, 2025 (arXiv 2502.16982)",
        when_to_use="For networks whose parameters are mostly matrices, such as transformers, in place of AdamW.",
    ),
    OptimizerInfo(
        name="schedule_free_sgd",
        title="Schedule-Free SGD",
        options=(rate(1.0, search=(1e-2, 10.0)), momentum(0.9), decay(0.0, search=(1e-7, 1e-3))),
        source="Defazio et al., The Road Less Scheduled, 2024 (arXiv 2405.15682)",
        when_to_use="Where the number of steps is not known beforehand, with 10 to 50 times the rate of SGD.",
    ),
    OptimizerInfo(
        name="schedule_free_adamw",
        title="Schedule-Free AdamW",
        options=(
            rate(2.5e-3, search=(1e-3, 1e-2)),
            share("beta1", 0.9, "Weight of the mean of all points in the parameters trained", search=(0.9, 0.98)),
            beta2(),
            eps(1e-8),
            decay(0.0, search=(1e-2, 0.1), decoupled=True),
        ),
        source="Defazio et al., The Road Less Scheduled, 2024 (arXiv 2405.15682)",
        when_to_use="In AdamW's place where the number of steps is not known beforehand, with a constant schedule "
        "and a warm-up of 2 to 5 %.",
    ),
    OptimizerInfo(
        name="prodigy",
        title="Prodigy",
        options=(
            rate(1.0, search=None),
            Option(
                "d_coef", "float", 1.0, 0.0, 1e6,
                low_open=True, search_low=0.1, search_high=10.0, scale="log",
                title="Factor on the estimated size of steps",
            ),
            beta1(),
            beta2(),
            Option(
                "beta3", "float", 0.0, 0.0, 1.0,
                high_open=True, title="Weight of the past in the estimate; 0 for the square root of beta2",
            ),
            eps(1e-8),
            Option("d0", "float", 1e-6, 0.0, 1e6, low_open=True, title="Estimate to begin with"),
            Option(
                "growth_rate", "float", 0.0, 0.0, 1e6,
                title="Largest factor by which the estimate may grow in a step; 0 for any",
            ),
            switch("use_bias_correction", False, "Correct the means for their start at zero, as Adam does"),
            switch("safeguard_warmup", False, "Keep the learning rate out of the estimate, for long warm-ups"),
            decay(0.0, search=(1e-3, 0.1), decoupled=True),
        ),
        source="Mishchenko and Defazio, Prodigy: An Expeditiously Adaptive Parameter-Free Learner, 2024 "
        "(arXiv 2306.06101)",
        when_to_use="Where no learning rate is known: leave lr at 1, with a constant or cosine schedule.",
    ),
    OptimizerInfo(
        name="ademamix",
        title="AdEMAMix",
        options=(
            rate(1e-3, search=(1e-4, 1e-2)),
            beta1(),
            beta2(),
            share(
                "beta3", 0.9999, "Weight of the past in the slow mean of gradients",
                search=(0.99, 0.9999), search_from=SOME,
            ),
            Option(
                "slow_weight", "float", 5.0, 0.0, 1e6,
                search_low=2.0, search_high=10.0, search_from=SOME, title="Weight of the slow mean in a step",
            ),
            count("slow_warmup", 0, "Steps in which slow_weight and beta3 rise to their values; 0 for none"),
            eps(1e-8),
            decay(0.0, search=(5e-3, 1.0), decoupled=True),
        ),
        source="Pagliardini, Ablin and Grangier, The AdEMAMix Optimizer: Better, Faster, Older, 2024 (arXiv 2409.03137)",
        when_to_use="For long runs, where old gradients still tell something; warm slow_weight up over most of them.",
    ),
    OptimizerInfo(
        name="soap",
        title="SOAP",
        options=(
            rate(3e-3, search=(3e-4, 1e-2)),
            beta1(0.95),
            share(
                "beta2", 0.95, "Weight of the past in the mean of squared gradients",
                search=(0.9, 0.999), search_from=MANY,
            ),
            Option(
                "shampoo_beta", "float", 0.0, 0.0, 1.0,
                high_open=True, title="Weight of the past in the covariances of gradients; 0 for that of beta2",
            ),
            eps(1e-8),
            Option(
                "precondition_frequency", "int", 10, 1, 1_000_000_000,
                search_low=1, search_high=100, scale="log", search_from=MANY,
                title="Steps from one refresh of the eigenbases to the next",
            ),
            count("max_dim", 10_000, "Longest side of a matrix that gets an eigenbasis", low=1, high=10_000),
            decay(0.01, search=(1e-4, 0.1), decoupled=True),
        ),
        source="Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, 2024 (arXiv 2409.11321)",
        when_to_use="Where steps are dear and memory is not: it keeps two square matrices beside each parameter.",
    ),
)  # fmt: skip
