"""Optimizers that precondition by K-FAC's relatives: in its eigenbasis, and through the examples of a batch."""

from ...records import OptimizerInfo, Option
from ..shared import MANY, decay, momentum, rate
from .options import damping, fisher, intervals, past, region

_OWN = tuple(option for option in intervals() if option.name != "curvature_interval")
_DECAY = decay(0.0, search=(1e-5, 5e-4))


def size(name: str, default: int, title: str, *, search: tuple[int, int]) -> Option:
    low, high = search
    return Option(
        name, "int", default, 1, 1_000_000,
        search_low=low, search_high=high, scale="log", search_from=MANY, title=title,
    )  # fmt: skip


OPTIMIZERS = (
    OptimizerInfo(
        name="skfac",
        title="SKFAC (swift K-FAC)",
        options=(
            rate(2e-2, search=(1e-3, 0.5)),
            momentum(0.9),
            damping(1e-1, search=(1e-4, 1.0)),
            region(),
            *fisher("sampled"),
            *_OWN,
            _DECAY,
        ),
        source="Tang et al., SKFAC: Training Neural Networks with Faster Kronecker-Factored Approximate Curvature, 2021",
        when_to_use="In place of K-FAC where layers are wider than batches are long, and curvature need not be averaged.",
        layered=True,
    ),
    OptimizerInfo(
        name="ekfac",
        title="EKFAC",
        options=(
            rate(2e-2, search=(1e-3, 0.5)),
            momentum(0.9),
            damping(1e-1, search=(1e-4, 1.0)),
            past(0.95),
            region(),
            *fisher("empirical"),
            *intervals(),
            _DECAY,
        ),
        source="George et al., Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis, 2018 "
        "(arXiv 1806.03884)",
        when_to_use="Where K-FAC does well: its diagonal is nearer to the curvature, and can be renewed between inversions.",
        layered=True,
    ),
    OptimizerInfo(
        name="smw_ngd",
        title="SMW-NG (natural gradient by Sherman, Morrison and Woodbury)",
        options=(
            rate(1e-1, search=(1e-3, 1.0)),
            momentum(0.9),
            damping(1.0, search=(1e-3, 10.0)),
            region(),
            _DECAY,
        ),
        source="Ren and Goldfarb, Efficient Subsampled Gauss-Newton and Natural Gradient Methods for Training Neural "
        "Networks, 2019 (arXiv 1906.02353)",
        when_to_use="For the natural gradient over all layers at once; batches of up to some hundred examples.",
        layered=True,
    ),
    OptimizerInfo(
        name="seng",
        title="SENG (sketchy empirical natural gradient)",
        options=(
            rate(5e-2, search=(1e-2, 0.1)),
            momentum(0.9),
            damping(1.0, search=(1e-3, 1.0)),
            size("sketch", 256, "Rows and columns of gradients that are looked at, of those there are", search=(128, 512)),
            size("rank", 16, "Rank to which each example's gradient is cut where it has more positions", search=(8, 32)),
            region(),
            _DECAY,
        ),
        source="Yang et al., Sketchy Empirical Natural Gradient Methods for Deep Learning, 2022 (arXiv 2006.05924)",
        when_to_use="For wide layers and small batches: its cost goes with examples, not with the square of widths.",
        layered=True,
    ),
)  # fmt: skip
