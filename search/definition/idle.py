"""Options that another one, fixed in the objective, leaves without effect: searching them would spend trials on nothing."""

from collections.abc import Mapping
from types import MappingProxyType

from search.errors import Fault
from search.space.nodes import Space
from search.space.parameters import Setting

# option and value -> what does nothing with it
IDLE: Mapping[tuple[str, Setting], tuple[str, ...]] = MappingProxyType(
    {
        ("batch_mode", "full"): ("batch_size",),
        ("batch_mode", "single"): ("batch_size",),
        ("warmup_shape", "none"): ("warmup", "warmup_steps"),
        ("threshold_by", "width"): ("threshold",),
        ("threshold_by", "fixed"): ("threshold_factor",),
        ("threshold_by", "share"): ("threshold", "threshold_factor"),
        ("activation", "top_k"): ("threshold_by", "threshold", "threshold_factor"),
    }
)


def idle_options(fixed: Mapping[str, object]) -> dict[str, str]:
    """Return the options without effect, each with the reason: `batch_mode full`."""
    return {
        name: f"{option} {value}"
        for (option, value), names in IDLE.items()
        if fixed.get(option) == value
        for name in names
    }


def idle_faults(fixed: Mapping[str, Setting], space: Space) -> list[Fault]:
    """Return a fault for each parameter that is searched without effect."""
    return [
        Fault(f"space.{name}", f"does nothing with {reason}: drop one of the two")
        for name, reason in idle_options(fixed).items()
        if name in space
    ]
