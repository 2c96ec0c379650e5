"""What layers are given and where their outputs hang, recorded while a model runs.

A tape stands between the model and torch's functions for the time of a `with` block. It knows a layer by the function
that is called with one of the parameters, so it works for modules and for pure functions of parameters alike, puts no
hook on any module and leaves nothing behind. It keeps gradient edges in place of outputs: these stay right where an
activation overwrites an output in place, and hold no memory.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..layers import Call, Tensors
from .readers import READERS

# What is no layer for sure: sums and products may also be of parameters alone.
_OPEN = ("bias", "scale")


class Tape(TorchFunctionMode):
    """Records calls of layers that have some of `params`, in the order of the calls."""

    def __init__(self, params: Tensors) -> None:
        super().__init__()
        self._places: Mapping[int, int] = {id(param): place for place, param in enumerate(params)}
        self.calls: list[Call] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401 - torch's own signature
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        del types
        given = kwargs or {}
        outputs = func(*args, **given)
        reader = READERS.get(func)
        if reader is not None and isinstance(outputs, Tensor) and outputs.requires_grad:
            call = reader(self._places, outputs, *args, **given)
            if call is not None:
                self.calls.append(call)
        return outputs


def once(calls: Sequence[Call], *, number: int | None = None) -> list[Call]:
    """Return the calls of layers whose curvature can be told from them alone, of a mini-batch with `number` examples.

    Where several use a parameter no one of them tells the whole, and one of another number of examples was given none:
    such is a parameter that another one is multiplied by. Without the number it is that of most layers. A table that is
    asked for 0, 1, 2, ... was given positions, even where these are as many as examples.
    """
    used = Counter(place for call in calls for place in call.layer.places)
    number = number or examples(calls)
    return [
        call
        for call in calls
        if all(used[place] == 1 for place in call.layer.places) and len(call.inputs) == number and not _positions(call)
    ]


def _positions(call: Call) -> bool:
    """Say whether a table was asked for its first rows in their order, (L,) or (1, L), which are of all examples alike."""
    if call.layer.kind != "embedding":
        return False
    rows = call.inputs.squeeze(0)
    if rows.ndim != 1 or len(rows) == 1:
        return False
    return bool((rows == torch.arange(len(rows), device=rows.device)).all())


def examples(calls: Sequence[Call]) -> int | None:
    """Return how many examples most layers were given; sums and products count where there is no other layer."""
    sure = [call for call in calls if call.layer.kind not in _OPEN] or calls
    return Counter(len(call.inputs) for call in sure).most_common(1)[0][0] if sure else None
