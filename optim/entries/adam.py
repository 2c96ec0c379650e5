"""Adam and its relatives."""

from ..records import OptimizerInfo, Option
from .shared import SOME, beta1, beta2, decay, eps, rate, switch

_MOMENTUM_DECAY = Option(
    "momentum_decay", "float", 4e-3, 0.0, 1e6,
    search_low=1e-4, search_high=1e-1, scale="log", search_from=SOME,
    title="How fast beta1 rises from half to all of its value",
)  # fmt: skip

OPTIMIZERS = (
    OptimizerInfo(
        name="adam",
        title="Adam",
        options=(
            rate(1e-3, search=(1e-4, 1e-2)),
            beta1(),
            beta2(),
            switch("bias_correction", True, "Correct both means for having started at zero"),
            eps(1e-8),
            decay(0.0, search=(1e-7, 1e-3)),
        ),
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
    OptimizerInfo(
        name="nadam",
        title="NAdam",
        options=(
            rate(2e-3, search=(1e-4, 1e-2)),
            beta1(search=(0.9, 0.996)),
            beta2(),
            _MOMENTUM_DECAY,
            eps(1e-8),
            decay(0.0, search=(1e-7, 1e-3)),
        ),
        source="Dozat, Incorporating Nesterov Momentum into Adam, 2016",
        when_to_use="In place of Adam where momentum is high: it looks one step ahead.",
    ),
    OptimizerInfo(
        name="nadamw",
        title="NAdamW",
        options=(
            rate(2e-3, search=(1e-4, 1e-2)),
            beta1(search=(0.9, 0.996)),
            beta2(),
            _MOMENTUM_DECAY,
            eps(1e-8),
            decay(0.0, search=(5e-3, 1.0), decoupled=True),
        ),
        source="Dozat, Incorporating Nesterov Momentum into Adam, 2016, with the weight decay of Loshchilov and "
        "Hutter, 2019; Dahl et al., Benchmarking Neural Network Training Algorithms, 2023 (arXiv 2306.07179)",
        when_to_use="In place of AdamW where betas are tuned as well: the strongest of its kind in the AlgoPerf "
        "baselines.",
    ),
    OptimizerInfo(
        name="radam",
        title="RAdam",
        options=(rate(1e-3, search=(1e-4, 1e-2)), beta1(), beta2(), eps(1e-8), decay(0.0, search=(1e-7, 1e-3))),
        source="Liu et al., On the Variance of the Adaptive Learning Rate and Beyond, 2020 (arXiv 1908.03265)",
        when_to_use="In place of Adam with warm-up: its first steps do not divide by squared gradients.",
    ),
    OptimizerInfo(
        name="adamax",
        title="Adamax",
        options=(rate(2e-3, search=(1e-4, 1e-2)), beta1(), beta2(), eps(1e-8), decay(0.0, search=(1e-7, 1e-3))),
        source="Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015 (arXiv 1412.6980), section 7",
        when_to_use="For embeddings, and where a few gradients are very large.",
    ),
    OptimizerInfo(
        name="adafactor",
        title="Adafactor",
        options=(
            rate(1e-2, search=(1e-4, 1e-2)),
            Option(
                "beta2_decay", "float", -0.8, -1.0, 0.0, high_open=True,
                title="Power of the step by which new squared gradients weigh",
            ),
            Option("eps1", "float", 0.0, 0.0, 1e6, title="Least denominator; 0 is the dtype's machine epsilon"),
            Option("eps2", "float", 1e-3, 0.0, 1e6, title="Least size that a parameter is taken to have"),
            Option("d", "float", 1.0, 1.0, 1e6, title="Root mean square above which a step is clipped"),
            decay(0.0, search=(1e-3, 1.0), decoupled=True),
        ),
        source="Shazeer and Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, 2018 "
        "(arXiv 1804.04235)",
        when_to_use="For large models where memory for optimizer state is short: of a matrix it keeps one number a "
        "row and one a column. Its rate is relative to the size of each parameter.",
    ),
)  # fmt: skip
