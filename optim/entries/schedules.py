"""Schedules of the learning rate and shapes of its warm-up. Option names begin with `decay_`, apart from those of optimizers."""

from ..records import Option, ScheduleInfo, WarmupInfo


def _final(default: float = 0.0, *, title: str = "Factor on the learning rate at the end of training") -> Option:
    return Option("decay_final", "float", default, 0.0, 1.0, search_low=0.0, search_high=0.1, title=title)


def _gamma(what: str, *, below_one: bool = False) -> Option:
    return Option(
        "decay_gamma", "float", 0.1, 0.0, 1.0,
        low_open=True, high_open=below_one, search_low=0.1, search_high=0.9, title=f"Factor by which the rate falls {what}",
    )  # fmt: skip


def _rate(default: float, *, low: float, title: str) -> Option:
    return Option(
        "decay_rate", "float", default, 0.0, 1e9, search_low=low, search_high=1000.0, scale="log", title=title
    )


def _fraction(name: str, default: float, *, search: tuple[float, float], title: str, below_one: bool = False) -> Option:
    low, high = search
    return Option(
        name, "float", default, 0.0, 1.0,
        low_open=True, high_open=below_one, search_low=low, search_high=high, title=title,
    )  # fmt: skip


_STEPS = (
    ScheduleInfo("constant", "Constant", (), "The base rate throughout"),
    ScheduleInfo(
        name="step",
        title="Step decay",
        options=(
            _gamma("at each step"),
            _fraction(
                "decay_every",
                1 / 3,
                search=(0.1, 0.5),
                title="Distance of the steps, as a fraction of the training after warm-up",
            ),
        ),
        source="gamma ** floor(k / s), s steps apart",
    ),
    ScheduleInfo(
        name="multistep",
        title="Step decay at chosen points",
        options=(
            Option(
                "decay_milestones", "points", (0.5, 0.75), 0.0, 1.0, low_open=True, high_open=True,
                title="Where the rate falls, as rising fractions of the training after warm-up",
            ),
            _gamma("at each point"),
        ),
        source="gamma ** (points passed); He et al., Deep Residual Learning for Image Recognition, 2016, fall at 1/2 and "
        "3/4 of the training",
    ),
)  # fmt: skip

_FALLS = (
    ScheduleInfo(
        name="exponential",
        title="Exponential decay",
        options=(
            Option(
                "decay_final", "float", 0.01, 0.0, 1.0, low_open=True, search_low=1e-4, search_high=0.5, scale="log",
                title="Factor on the learning rate at the end of training",
            ),
        ),
        source="final ** u, that is gamma ** k with gamma = final ** (1 / steps after warm-up)",
    ),
    ScheduleInfo(
        name="time",
        title="Time-based decay",
        options=(
            _rate(
                9.0,
                low=0.1,
                title="Decay rate over the whole training after warm-up: the rate ends at 1 / (1 + decay_rate)",
            ),
        ),
        source="1 / (1 + rate u), that is 1 / (1 + k t) with k = rate / steps after warm-up",
    ),
    ScheduleInfo(
        name="inverse_sqrt",
        title="Inverse square root decay",
        options=(
            _rate(
                24.0,
                low=1.0,
                title="Steps after warm-up over those of warm-up as in the source; the rate ends at 1 / sqrt(1 + decay_rate)",
            ),
        ),
        source="1 / sqrt(1 + rate u); Vaswani et al., Attention Is All You Need, 2017 (arXiv 1706.03762), whose "
        "sqrt(W / t) it is at rate = K / W: 24 for 4000 of 100 000 steps",
    ),
    ScheduleInfo("linear", "Linear decay", (_final(),), "final + (1 - final) (1 - u)"),
    ScheduleInfo(
        name="polynomial",
        title="Polynomial decay",
        options=(
            _final(),
            Option(
                "decay_power", "float", 2.0, 0.0, 100.0, low_open=True, search_low=0.5, search_high=4.0, scale="log",
                title="Power of what is left of the training: above 1 the rate falls early, below 1 late",
            ),
        ),
        source="final + (1 - final) (1 - u) ** power; power 0.9 in Chen et al., DeepLab, 2017 (arXiv 1606.00915)",
    ),
)  # fmt: skip

_WAVES = (
    ScheduleInfo(
        name="cosine",
        title="Cosine decay",
        options=(_final(),),
        source="Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017 (arXiv 1608.03983), "
        "without restarts",
    ),
    ScheduleInfo(
        name="cosine_restarts",
        title="Cosine decay with warm restarts",
        options=(
            Option(
                "decay_cycles", "int", 3, 1, 100, search_low=1, search_high=5,
                title="How many times the rate falls from its base to its end",
            ),
            Option(
                "decay_growth", "float", 1.0, 1.0, 10.0, search_low=1.0, search_high=2.0,
                title="Length of a cycle over that of the one before",
            ),
            _final(title="Factor on the learning rate at the end of each cycle"),
        ),
        source="Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017 (arXiv 1608.03983)",
    ),
    ScheduleInfo(
        name="one_cycle",
        title="One cycle",
        options=(
            _fraction(
                "decay_rise",
                0.3,
                search=(0.1, 0.5),
                below_one=True,
                title="Fraction of the training after warm-up in which the rate rises to its base",
            ),
            _fraction("decay_start", 0.04, search=(0.01, 0.2), title="Factor on the learning rate at the start of the cycle"),
            Option(
                "decay_final", "float", 4e-6, 0.0, 1.0,
                title="Factor on the learning rate at the end of training",
            ),
        ),
        source="Smith and Topin, Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates, "
        "2018 (arXiv 1708.07120); two phases of half a cosine as torch's OneCycleLR, whose max_lr is the base rate",
    ),
    ScheduleInfo(
        name="wsd",
        title="Warm-up, stable, decay",
        options=(
            _fraction(
                "decay_last",
                0.2,
                search=(0.05, 0.5),
                title="Fraction of the training after warm-up in which the rate falls, the last one",
            ),
            _final(),
            Option(
                "decay_shape", "choice", "sqrt", choices=("linear", "sqrt", "cosine"),
                title="How the rate falls: evenly, by 1 - sqrt, by half a cosine",
            ),
        ),
        source="Hu et al., MiniCPM, 2024 (arXiv 2404.06395); Haegele et al., Scaling Laws and Compute-Optimal Training "
        "Beyond Fixed Training Durations, 2024 (arXiv 2405.18392), for 1 - sqrt",
    ),
)  # fmt: skip

_MEASURED = (
    ScheduleInfo(
        name="plateau",
        title="Lower on a plateau",
        options=(
            _gamma("at each plateau", below_one=True),
            Option(
                "decay_patience", "int", 10, 0, 1_000_000, search_low=2, search_high=20,
                title="Epochs without progress that are let pass before the rate falls",
            ),
            Option(
                "decay_threshold", "float", 1e-4, 0.0, 1.0, high_open=True,
                title="Fraction by which the loss must fall below its best to count as progress",
            ),
            Option(
                "decay_cooldown", "int", 0, 0, 1_000_000,
                title="Epochs after a fall of the rate in which missing progress does not count",
            ),
            Option("decay_final", "float", 0.0, 0.0, 1.0, title="Smallest factor on the learning rate"),
        ),
        source="As torch's ReduceLROnPlateau, on the validation loss with a relative threshold",
    ),
)  # fmt: skip

SCHEDULES = (*_STEPS, *_FALLS, *_WAVES, *_MEASURED)

WARMUPS = (
    WarmupInfo("none", "No warm-up", "The base rate from the first step"),
    WarmupInfo(
        "linear",
        "Linear warm-up",
        "(t + 1) / W, W steps long; Goyal et al., Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour, 2017 "
        "(arXiv 1706.02677)",
    ),
    WarmupInfo("exponential", "Exponential warm-up", "0.01 ** (1 - (t + 1) / W), W steps long"),
    WarmupInfo("cosine", "Cosine warm-up", "(1 - cos(pi (t + 1) / W)) / 2, W steps long"),
)
