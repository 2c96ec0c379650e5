"""Whether a saved state is one of this network, asked before anything is made of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from .layers import Layer

_REMEDY = "load it into the network that it was saved of, or begin anew without it"


def shapes_of(named: Mapping[str, Tensor]) -> list[list[int]]:
    """Return the shapes of parameters in their order, as a state has them saved beside itself."""
    return [list(param.shape) for param in named.values()]


def as_saved(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Return layers as a state has them saved beside itself: plain values, by the names of their fields."""
    names = ("kind", "weight", "bias", "settings")
    return [{name: getattr(layer, name) for name in names} for layer in layers]


def layers_in(saved: Mapping[str, Any], count: int) -> tuple[Layer, ...] | None:
    """Return the layers that a state is of, None if it does not say. Raise ValueError if they are not of `count` parameters."""
    if saved.get("layers") is None:
        return None
    layers = tuple(Layer(**each) for each in saved["layers"])
    if any(place >= count for layer in layers for place in layer.places):
        raise ValueError(f"the state is of another network: it has layers of parameters that this one lacks: {_REMEDY}")
    return layers


def check_saved(saved: Mapping[str, Any], method: str) -> None:
    """Raise ValueError for what is no state of this method."""
    if not {"method", "state"} <= saved.keys() or not isinstance(saved["state"], Mapping | None):
        raise ValueError(f"this is no state of a preconditioner: it has {', '.join(map(str, saved)) or 'nothing'}")
    if saved["method"] != method:
        raise ValueError(f"the state is of {saved['method']}, and this is {method}")


def check_shapes(named: Mapping[str, Tensor], saved: Sequence[Sequence[int]] | None) -> None:
    """Raise ValueError if a state was saved of parameters of other shapes; None, of before shapes were saved, is any."""
    if saved is None:
        return
    if len(saved) != len(named):
        raise ValueError(f"the state is of a network of {len(saved)} parameters, and this has {len(named)}: {_REMEDY}")
    for (name, param), other in zip(named.items(), saved, strict=True):
        if list(param.shape) != list(other):
            raise ValueError(
                f"the state is of another network: {name} is {tuple(param.shape)} here and {tuple(other)} there: {_REMEDY}"
            )


def merged(state: Any, saved: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the named tuple of a method's state
    """Return a method's state with the fields as they were saved. Raise ValueError if they are laid out otherwise."""
    own = {name: _layout(part) for name, part in state._asdict().items()}
    theirs = {name: _layout(part) for name, part in saved.items()}
    different = [name for name in own if own[name] != theirs.get(name)]
    if different or theirs.keys() - own.keys():
        names = ", ".join(different or sorted(theirs.keys() - own.keys()))
        raise ValueError(
            f"the state is of another network, or of other options: {names} is laid out otherwise: {_REMEDY}"
        )
    return state._replace(**{name: _placed(part, like=getattr(state, name)) for name, part in saved.items()})


def _placed(part: Any, like: Any) -> Any:  # noqa: ANN401 - tensors in any nest of sequences
    """Return the part where `like` is, in its precision."""
    if isinstance(part, Tensor):
        return part.to(device=like.device, dtype=like.dtype)
    return [_placed(each, own) for each, own in zip(part, like, strict=True)]


def _layout(part: Any) -> Any:  # noqa: ANN401 - tensors in any nest of sequences
    return tuple(part.shape) if isinstance(part, Tensor) else [_layout(each) for each in part]
