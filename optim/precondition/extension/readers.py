"""Which functions of torch are layers, and how each is read: from its arguments to a `Call`.

A reader returns None where the call has none of the parameters, or is of a form whose curvature is not known.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

from ..layers import Call, Layer

Places: TypeAlias = Mapping[int, int]
_AXES = 2  # an example's own at least, behind that of examples
# (places of parameters by id, outputs, the call's own arguments) -> Call
Reader: TypeAlias = Callable[..., Call | None]


def _place(places: Places, tensor: object) -> int | None:
    return places.get(id(tensor))


def _linear(places: Places, outputs: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Call | None:
    layer = Layer("linear", _place(places, weight), _place(places, bias))
    return _call(layer, input, outputs)


def _stacked_linear(places: Places, outputs: Tensor, bias: Tensor, weight: Tensor, columns: Tensor) -> Call | None:
    """Read a layer of stacked members, examples as columns. Its bias is a view, and known to whoever knows the layer."""
    del bias
    return _call(Layer("linear", _place(places, weight), None), columns.mT, outputs, turned=True)


def _convolution(axes: int) -> Reader:
    def read(
        places: Places,
        outputs: Tensor,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,  # a number, or one for each axis
        padding: Any = 0,  # or a word
        dilation: Any = 1,
        groups: int = 1,
    ) -> Call | None:
        if input.ndim != axes + 2:  # one example, without an axis of its own
            return None
        kernel = tuple(weight.shape[2:])
        dilated = _each(dilation, axes)
        settings = {
            "kernel": kernel,
            "stride": _each(stride, axes),
            "padding": _padding(padding, kernel, dilated),
            "dilation": dilated,
            "groups": groups,
        }
        return _call(Layer("convolution", _place(places, weight), _place(places, bias), settings), input, outputs)

    return read


def _each(value: Any, axes: int) -> tuple[int, ...]:  # a number, or one for each axis
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _padding(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return how much is added before and behind each axis."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        wanted = [reach * (size - 1) for size, reach in zip(kernel, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in wanted)
    return tuple((each, each) for each in _each(padding, len(kernel)))


def _embedding(
    places: Places,
    outputs: Tensor,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Call | None:
    del max_norm, norm_type, sparse
    if scale_grad_by_freq or input.ndim == 0:  # so its slopes are no sums over examples
        return None
    padding = None if padding_idx is None else padding_idx % len(weight)
    layer = Layer("embedding", _place(places, weight), None, {"tokens": len(weight), "padding": padding})
    return _call(layer, input, outputs, axes=1)


def _layer_norm(
    places: Places,
    outputs: Tensor,
    input: Tensor,
    normalized_shape: Any,  # sizes
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Call | None:
    normal = partial(F.layer_norm, normalized_shape=normalized_shape, eps=eps)
    return _norm(places, (weight, bias), input, outputs, normal, tuple(normalized_shape))


def _rms_norm(
    places: Places,
    outputs: Tensor,
    input: Tensor,
    normalized_shape: Any,  # sizes
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Call | None:
    normal = partial(F.rms_norm, normalized_shape=normalized_shape, eps=eps)
    return _norm(places, (weight, None), input, outputs, normal, tuple(normalized_shape))


def _group_norm(
    places: Places,
    outputs: Tensor,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Call | None:
    normal = partial(F.group_norm, num_groups=num_groups, eps=eps)
    return _norm(places, (weight, bias), input, outputs, normal, _by_channel(input))


def _batch_norm(
    places: Places,
    outputs: Tensor,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Call | None:
    del momentum
    # Those of the batch are reckoned again: running ones would move once more.
    mean, variance = (None, None) if training else (running_mean, running_var)
    normal = partial(F.batch_norm, running_mean=mean, running_var=variance, training=training, eps=eps)
    return _norm(places, (weight, bias), input, outputs, normal, _by_channel(input))


def _by_channel(inputs: Tensor) -> tuple[int, ...]:
    """Return the shape of a number for each channel beside an example."""
    return (inputs.shape[1], *(1,) * (inputs.ndim - 2))


def _norm(
    places: Places,
    params: tuple[Tensor | None, Tensor | None],
    inputs: Tensor,
    outputs: Tensor,
    normal: Callable[[Tensor], Tensor],
    beside: tuple[int, ...],
) -> Call | None:
    if len(beside) >= inputs.ndim:  # examples are normalised together
        return None
    shapes = [tuple(param.shape) for param in params if param is not None]
    settings = {"shape": shapes[0] if shapes else (), "beside": beside}
    layer = Layer("norm", _place(places, params[0]), _place(places, params[1]), settings)
    return _call(layer, inputs, outputs, prepare=normal)


def _sum(places: Places, outputs: Tensor, input: Any, other: Any, *, alpha: float = 1, out: Any = None) -> Call | None:
    found = _element(places, outputs, input, other)
    if found is None or alpha != 1 or out is not None:
        return None
    place, _, settings = found
    # What the parameter is added to does not matter, and is not kept.
    return _call(Layer("bias", None, place, settings), outputs.new_empty(len(outputs), 0), outputs)


def _product(places: Places, outputs: Tensor, input: Any, other: Any, *, out: Any = None) -> Call | None:
    found = _element(places, outputs, input, other)
    if found is None or out is not None:
        return None
    place, beside, settings = found
    return _call(Layer("scale", place, None, settings), beside.expand_as(outputs), outputs)


def _element(places: Places, outputs: Tensor, *operands: Any) -> tuple[int, Tensor, dict[str, Any]] | None:
    """Return which of two operands is the parameter, the other one, and settings; None unless it is the same for examples."""
    known = [_place(places, operand) is not None for operand in operands]
    if sum(known) != 1:
        return None
    param, other = operands if known[0] else operands[::-1]
    lacking = outputs.ndim - param.ndim
    if not isinstance(other, Tensor) or outputs.ndim < _AXES or (lacking == 0 and param.shape[0] != 1):
        return None
    beside = tuple(param.shape) if lacking else tuple(param.shape[1:])
    return places[id(param)], other, {"shape": tuple(param.shape), "beside": beside}


def _call(
    layer: Layer,
    inputs: Tensor,
    outputs: Tensor,
    *,
    turned: bool = False,
    prepare: Callable[[Tensor], Tensor] | None = None,
    axes: int = _AXES,
) -> Call | None:
    """Return the call, None if it is none of a parameter, or has fewer axes than examples of something have."""
    if not layer.places or inputs.ndim < axes:
        return None
    return Call(layer, inputs.detach(), get_gradient_edge(outputs), turned, prepare)


READERS: Mapping[Callable[..., Any], Reader] = MappingProxyType(
    {
        F.linear: _linear,
        torch.baddbmm: _stacked_linear,
        F.conv1d: _convolution(1),
        F.conv2d: _convolution(2),
        F.conv3d: _convolution(3),
        F.embedding: _embedding,
        F.layer_norm: _layer_norm,
        F.rms_norm: _rms_norm,
        F.group_norm: _group_norm,
        F.batch_norm: _batch_norm,
        torch.add: _sum,
        Tensor.add: _sum,
        Tensor.add_: _sum,
        torch.mul: _product,
        Tensor.mul: _product,
    }
)
