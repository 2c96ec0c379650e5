"""Options that others leave without effect, as they are fixed or by default: a study that gives one means something else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from optim.catalog import Option
from search.errors import Fault
from search.space.nodes import Space
from search.space.parameters import Setting


@dataclass(frozen=True, slots=True)
class Idle:
    """`names` do nothing where every option of `where` has one of the values listed."""

    names: tuple[str, ...]
    where: Mapping[str, tuple[Setting, ...]]


_BY_THRESHOLD = ("shifted_relu", "shifted_squared_relu")
IDLE = (
    Idle(("batch_size",), {"batch_mode": ("full", "single")}),
    Idle(("warmup", "warmup_steps"), {"warmup_shape": ("none",)}),
    Idle(("threshold",), {"threshold_by": ("width", "share")}),
    Idle(("threshold_factor",), {"threshold_by": ("fixed", "share")}),
    Idle(("threshold_by", "threshold", "threshold_factor"), {"activation": ("top_k",)}),
    Idle(("active_share",), {"threshold_by": ("width", "fixed"), "activation": _BY_THRESHOLD}),
    Idle(("slack",), {"reporter": ("dense",)}),
    Idle(("interval_ramp", "interval_ramp_share"), {"interval_shape": ("constant",)}),
)
_NO_DEFAULTS: Mapping[str, Option] = MappingProxyType({})


def idle_options(fixed: Mapping[str, object], defaults: Mapping[str, Option] = _NO_DEFAULTS) -> dict[str, Idle]:
    """Return the options without effect, each with the reason; `defaults` are the options that nobody gives.

    What is fixed alone comes before what needs a default to be a reason.
    """
    found: dict[str, Idle] = {}
    for values in (fixed, {**{name: option.default for name, option in defaults.items()}, **fixed}):
        for idle in IDLE:
            if all(values.get(option) in listed for option, listed in idle.where.items()):
                found |= {name: idle for name in idle.names if name not in found}
    return found


def idle_faults(
    fixed: Mapping[str, Setting], space: Space, faulty: frozenset[str], options: Mapping[str, Option]
) -> Iterator[Fault]:
    """Return a fault for each parameter that is searched without effect, and for what is fixed so because of a default.

    `options` are all that the study could give. Two fixed ones may stand side by side, of which one does nothing: that
    says nothing wrong, and costs no trials. So may one that is fixed to its own default.
    """
    given = fixed.keys() | space.keys() | faulty
    defaults = {name: option for name, option in options.items() if name not in given}
    for name, idle in idle_options(fixed, defaults).items():
        default = [option for option in idle.where if option not in fixed]
        says = name in fixed and (name not in options or fixed[name] != options[name].default)
        if name in space or (says and default):
            yield Fault(f"{'space' if name in space else 'objective'}.{name}", _said(idle, fixed, defaults))


def _said(idle: Idle, fixed: Mapping[str, Setting], defaults: Mapping[str, Option]) -> str:
    reasons, remedies = [], []
    for option, listed in idle.where.items():
        if option in fixed:
            reasons.append(f"{option} {fixed[option]}")
        else:
            reasons.append(f"{option} {defaults[option].default}, its default")
            others = (choice for choice in defaults[option].choices if choice not in listed)
            remedies.append(f"{option} to {' or '.join(others)}")
    remedy = f"drop it, or set {' or '.join(remedies)}" if remedies else "drop one of the two"
    return f"does nothing with {' and '.join(reasons)}: {remedy}"
