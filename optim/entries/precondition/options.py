"""Options that optimizers have in common which precondition gradients (docs/preconditioning.md)."""

from collections.abc import Mapping
from types import MappingProxyType

from ...records import Option
from ..shared import FEW, MANY, SOME, count

_INTERVAL = 1_000_000_000
# Options that count steps, and those that say the same as a share of all steps.
SHARES: Mapping[str, str] = MappingProxyType(
    {"interval_warmup": "interval_warmup_share", "interval_ramp": "interval_ramp_share"}
)


def damping(default: float, *, search: tuple[float, float]) -> Option:
    low, high = search
    return Option(
        "damping", "float", default, 0.0, 1e12,
        low_open=True, search_low=low, search_high=high, scale="log", search_from=FEW,
        title="Added to every eigenvalue of the curvature",
    )  # fmt: skip


def region(default: float = 1e-3) -> Option:
    return Option(
        "kl_clip", "float", default, 0.0, 1e6,
        search_low=1e-4, search_high=1e-1, scale="log", search_from=SOME,
        title="Largest change of what the model predicts in one step, as a divergence; 0 for any",
    )  # fmt: skip


def past(default: float) -> Option:
    return Option(
        "curvature_beta", "float", default, 0.0, 1.0,
        search_low=0.5, search_high=0.999, scale="reverse_log", search_from=MANY,
        title="Weight of the past in the moving average of curvature; 0 takes each batch's own, 1 all alike",
    )  # fmt: skip


def fisher(default: str) -> tuple[Option, Option]:
    return (
        Option(
            "fisher", "choice", default, choices=("empirical", "sampled", "exact"),
            title="Whose slopes make the Fisher matrix: the data's, targets drawn from the model, or all targets",
        ),
        count("samples", 1, "Targets drawn of each example where they are sampled", low=1, high=1000),
    )  # fmt: skip


def _share(steps: str) -> Option:
    title = f"The same as a fraction of all steps; 0 leaves it to {steps}"
    return Option(SHARES[steps], "float", 0.0, 0.0, 1.0, title=title)


def intervals(default: int = 10) -> tuple[Option, ...]:
    return (
        Option(
            "interval", "int", default, 1, _INTERVAL, search_low=1, search_high=100, scale="log", search_from=SOME,
            title="Steps from one preconditioner to the next",
        ),
        Option(
            "curvature_interval", "int", default, 1, _INTERVAL, search_low=1, search_high=100, scale="log",
            search_from=MANY, title="Steps from one estimate of curvature to the next",
        ),
        count("interval_warmup", 0, "Steps at the beginning of which each takes both"),
        _share("interval_warmup"),
        count("interval_ramp", 0, "Steps in which intervals grow to their full length; 0 for full ones from the start"),
        _share("interval_ramp"),
        Option("interval_shape", "choice", "constant", choices=("constant", "step", "linear"),
               title="How intervals grow, over interval_ramp or its share"),
    )  # fmt: skip
