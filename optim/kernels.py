"""torch's own fused steps for rules of ours that they compute exactly, for one model on one device.

A kernel changes parameters and state in place, in one pass over memory; the rule beside it is what it must equal. It
takes lists over the parameters, the state's fields by name, and the options of their group.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

Fields: TypeAlias = dict[str, Any]
Step: TypeAlias = Callable[[list[Tensor], list[Tensor], Fields, Mapping[str, Any]], None]

_DTYPES = frozenset({torch.float32, torch.float64})
_DEVICES = frozenset({"cpu", "cuda"})


@dataclass(frozen=True, slots=True)
class Kernel:
    """A fused step, the options under which it is the rule's, and those under which it takes tensors of any kind."""

    step: Step
    fits: Callable[[Mapping[str, Any]], bool] = lambda _options: True
    takes_any: Callable[[Mapping[str, Any]], bool] = lambda _options: False

    def takes(self, params: list[Tensor], grads: list[Tensor], fields: Fields, options: Mapping[str, Any]) -> bool:
        """Say whether it may step these: one device and dtype that it is made for, and all parts laid out alike."""
        if self.takes_any(options):
            return True
        dtype, device = params[0].dtype, params[0].device
        if dtype not in _DTYPES or device.type not in _DEVICES or not self.fits(options):
            return False
        lists = [params, grads, *(field for field in fields.values() if isinstance(field, list))]
        tensors = list(chain.from_iterable(lists))
        if not all(tensor.dtype is dtype and tensor.device == device for tensor in tensors):
            return False
        # Nearly always all lie in memory in the order of their axes.
        return all(tensor.is_contiguous() for tensor in tensors) or all(map(_dense, zip(*lists, strict=True)))


def _dense(parts: Sequence[Tensor]) -> bool:
    """Say whether a kernel, which walks memory and not axes, meets the same element of each part at each place.

    They do if all have the order of axes of the parameter, and that fills its stretch of memory.
    """
    shape, strides = parts[0].shape, parts[0].stride()
    reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    return reach + 1 == parts[0].numel() and all(part.stride() == strides for part in parts)


def _sgd(
    params: list[Tensor],
    grads: list[Tensor],
    fields: Fields,
    options: Mapping[str, Any],
    *,
    nesterov: bool = False,
    averaging: bool = False,
) -> None:
    momentum = options.get("momentum", 0.0)
    torch._fused_sgd_(
        params, grads, fields.get("velocity", []),
        weight_decay=options["weight_decay"], momentum=momentum, lr=options["lr"],
        dampening=momentum if averaging else 0.0, nesterov=nesterov, maximize=False, is_first_step=False,
    )  # fmt: skip


def _adam(
    params: list[Tensor],
    grads: list[Tensor],
    fields: Fields,
    options: Mapping[str, Any],
    *,
    fused: Callable[..., None],
) -> None:
    # A new count, not the old one changed: others that sit this step out may share that.
    step = fields["step"] = fields["step"] + 1
    # On a GPU the kernel reads the count there, in the precision that torch keeps it in.
    counter = step if params[0].device.type == "cpu" else step.to(params[0].device, torch.float32)
    fused(
        params, grads, fields["mean"], fields["square"], [], [counter] * len(params),
        lr=options["lr"], beta1=options["beta1"], beta2=options["beta2"], weight_decay=options["weight_decay"],
        eps=options["eps"], amsgrad=False, maximize=False,
    )  # fmt: skip


def _no_decay(options: Mapping[str, Any]) -> bool:
    return not options["weight_decay"]


def _has_momentum(options: Mapping[str, Any]) -> bool:
    """Say whether the kernel keeps the velocity up, which it does only where it is of use in this step."""
    return bool(options["momentum"] > 0)


def _corrects(options: Mapping[str, Any]) -> bool:
    return bool(options["bias_correction"])


def _plain(params: list[Tensor], grads: list[Tensor], fields: Fields, options: Mapping[str, Any]) -> None:
    """Step without momentum; without weight decay that is one sum, for which a call costs less than of the fused step."""
    if _no_decay(options):
        torch._foreach_add_(params, grads, alpha=-options["lr"])
    else:
        _sgd(params, grads, fields, options)


KERNELS: Mapping[str, Kernel] = MappingProxyType(
    {
        "sgd": Kernel(_plain, takes_any=_no_decay),
        "momentum": Kernel(_sgd, _has_momentum),
        "momentum_ema": Kernel(partial(_sgd, averaging=True), _has_momentum),
        "nesterov": Kernel(partial(_sgd, nesterov=True), _has_momentum),
        "adam": Kernel(partial(_adam, fused=torch._fused_adam_), _corrects),
        "adamw": Kernel(partial(_adam, fused=torch._fused_adamw_)),
    }
)
