"""The optimizers that can be watched on a surface: all of the catalog but those that look at layers of a network."""

from collections.abc import Mapping
from types import MappingProxyType

from .. import catalog

OPTIMIZERS: Mapping[str, catalog.OptimizerInfo] = MappingProxyType(
    {name: info for name, info in catalog.OPTIMIZERS.items() if not info.layered}
)


def optimizer_of(name: str) -> catalog.OptimizerInfo:
    """Return the optimizer called `name`. Raise ValueError listing the valid names if it is none of these."""
    if name not in OPTIMIZERS:
        raise ValueError(refusal(name))
    return OPTIMIZERS[name]


def refusal(name: str) -> str:
    """Say why a name is none of these, and which are."""
    known = name in catalog.OPTIMIZERS
    why = f"{name} looks at layers of a network, and a surface has none" if known else f"unknown optimizer {name!r}"
    return f"{why}; valid: {', '.join(OPTIMIZERS)}"
