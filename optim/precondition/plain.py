"""What a method leaves to the plain gradient, and how users are told."""

from collections.abc import Sequence

from .. import catalog
from .layers import Layer

_SHOWN = 5


def left_plain(method: str, layers: Sequence[Layer], names: Sequence[str]) -> list[str]:
    """Return those of the parameters' names that are in none of the layers; none for a method that is not of layers."""
    if not catalog.optimizer_info(method).layered:
        return []
    seen = {place for layer in layers for place in layer.places}
    return [name for place, name in enumerate(names) if place not in seen]


def notice(method: str, names: Sequence[str]) -> str | None:
    """Say which parameters keep their gradients, the first few by name; None where there are none."""
    if not names:
        return None
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{method} leaves these gradients as they are, of no layer that it knows: {', '.join(names[:_SHOWN])}{more}"
