"""Options that several optimizers have in common, as functions of their defaults and recommended ranges.

Search ranges are starting points for small and medium networks. Where their source gives a range for 1 - x
(momentum, betas), the range here is that of x with `scale="reverse_log"`: uniform in log(1 - x).

From how many trials an option is worth searching follows Godbole et al., Deep Learning Tuning Playbook, 2023: below
10 trials the learning rate alone, from 10 on also momentum or beta1 and weight decay, from 25 on also eps and what is
left, and beta2 only in long studies.
"""

from ..records import Option

FEW, SOME, MANY = 10, 25, 100


def rate(default: float, *, search: tuple[float, float] | None) -> Option:
    low, high = search or (None, None)
    return Option(
        "lr", "float", default, 0.0, 1e6,
        low_open=True, search_low=low, search_high=high, scale="log", title="Learning rate",
    )  # fmt: skip


def share(
    name: str,
    default: float,
    title: str,
    *,
    search: tuple[float, float],
    scale: str = "reverse_log",
    search_from: int = FEW,
) -> Option:
    """Describe a weight in [0, 1) given to the past."""
    low, high = search
    return Option(
        name, "float", default, 0.0, 1.0,
        high_open=True, search_low=low, search_high=high, scale=scale, search_from=search_from, title=title,
    )  # fmt: skip


def decay(default: float, *, search: tuple[float, float], decoupled: bool = False) -> Option:
    low, high = search
    title = "Weight decay, decoupled from the gradient" if decoupled else "Weight decay, as an L2 term in the gradient"
    return Option(
        "weight_decay", "float", default, 0.0, 1e6,
        search_low=low, search_high=high, scale="log", search_from=FEW, title=title,
    )  # fmt: skip


def eps(default: float, name: str = "eps", title: str = "Added to the denominator") -> Option:
    return Option(
        name, "float", default, 0.0, 1e6,
        search_low=1e-10, search_high=1e-3, scale="log", search_from=SOME, title=title,
    )  # fmt: skip


def momentum(default: float) -> Option:
    return share("momentum", default, "Momentum: weight of the accumulated gradient", search=(0.7, 0.995))


def beta1(default: float = 0.9, *, search: tuple[float, float] = (0.5, 0.98)) -> Option:
    return share("beta1", default, "Weight of the past in the mean of gradients", search=search)


def beta2(default: float = 0.999, *, search: tuple[float, float] = (0.9, 0.9999)) -> Option:
    title = "Weight of the past in the mean of squared gradients"
    return share("beta2", default, title, search=search, search_from=MANY)


def switch(name: str, default: bool, title: str) -> Option:
    return Option(name, "bool", default, 0, 1, title=title)


def count(name: str, default: int, title: str, *, low: int = 0, high: int = 1_000_000_000) -> Option:
    return Option(name, "int", default, low, high, title=title)
