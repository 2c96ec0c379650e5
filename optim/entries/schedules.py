"""Schedules of the learning rate and shapes of its warm-up. Option names begin with `decay_`, apart from those of optimizers."""

from ..records import Option, ScheduleInfo, WarmupInfo

_FINAL_TITLE = "Factor on the learning rate at the end of training"
SCHEDULES = (
    ScheduleInfo(
        name="constant",
        title="Constant",
        options=(),
        source="The base rate throughout",
    ),
    ScheduleInfo(
        name="step",
        title="Step decay",
        options=(
            Option(
                "decay_gamma",
                "float",
                0.1,
                0.0,
                1.0,
                low_open=True,
                search_low=0.1,
                search_high=0.9,
                title="Factor by which the rate falls at each step",
            ),
            Option(
                "decay_every",
                "float",
                1 / 3,
                0.0,
                1.0,
                low_open=True,
                search_low=0.1,
                search_high=0.5,
                title="Distance of the steps, as a fraction of the training after warm-up",
            ),
        ),
        source="gamma ** floor(k / s), s steps apart",
    ),
    ScheduleInfo(
        name="exponential",
        title="Exponential decay",
        options=(
            Option(
                "decay_final",
                "float",
                0.01,
                0.0,
                1.0,
                low_open=True,
                search_low=1e-4,
                search_high=0.5,
                scale="log",
                title=_FINAL_TITLE,
            ),
        ),
        source="final ** u, that is gamma ** k with gamma = final ** (1 / steps after warm-up)",
    ),
    ScheduleInfo(
        name="time",
        title="Time-based decay",
        options=(
            Option(
                "decay_rate",
                "float",
                9.0,
                0.0,
                1e9,
                search_low=0.1,
                search_high=1000.0,
                scale="log",
                title="Decay rate over the whole training after warm-up: the rate ends at 1 / (1 + decay_rate)",
            ),
        ),
        source="1 / (1 + rate u), that is 1 / (1 + k t) with k = rate / steps after warm-up",
    ),
    ScheduleInfo(
        name="cosine",
        title="Cosine decay",
        options=(Option("decay_final", "float", 0.0, 0.0, 1.0, search_low=0.0, search_high=0.1, title=_FINAL_TITLE),),
        source="Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017 (arXiv 1608.03983), "
        "without restarts",
    ),
)


WARMUPS = (
    WarmupInfo("none", "No warm-up", "The base rate from the first step"),
    WarmupInfo("linear", "Linear warm-up", "(t + 1) / W, W steps long"),
)
