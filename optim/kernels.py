"""torch's own fused steps for rules of ours that they compute exactly, for one model on one device.

A kernel changes parameters and state in place, in one pass over memory; the rule beside it is what it must equal. It
takes lists over the parameters, the state's fields by name, and the options of their group.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

Fields: TypeAlias = dict[str, Any]
Kernel: TypeAlias = Callable[[list[Tensor], list[Tensor], Fields, Mapping[str, Any]], None]

_DTYPES = frozenset({torch.float32, torch.float64})
_DEVICES = frozenset({"cpu", "cuda"})


def usable(params: Sequence[Tensor], grads: Sequence[Tensor]) -> bool:
    """Say whether the kernels take these: one device and one dtype that they are made for, laid out alike."""
    first = params[0]
    if first.dtype not in _DTYPES or first.device.type not in _DEVICES:
        return False
    like = (first.dtype, first.device)
    return all(
        (param.dtype, param.device) == like
        and (grad.dtype, grad.device) == like
        and param.stride() == grad.stride()
        and param.numel() > 0
        for param, grad in zip(params, grads, strict=True)
    )


def _sgd(
    params: list[Tensor], grads: list[Tensor], fields: Fields, options: Mapping[str, Any], *, nesterov: bool
) -> None:
    torch._fused_sgd_(
        params, grads, fields.get("velocity", []),
        weight_decay=options["weight_decay"], momentum=options.get("momentum", 0.0), lr=options["lr"],
        dampening=0.0, nesterov=nesterov, maximize=False, is_first_step=False,
    )  # fmt: skip


def _adam(
    params: list[Tensor],
    grads: list[Tensor],
    fields: Fields,
    options: Mapping[str, Any],
    *,
    fused: Callable[..., None],
) -> None:
    step = fields["step"] = fields["step"] + 1
    # On a GPU the kernel reads the count there, in the precision that torch keeps it in.
    counter = step if params[0].device.type == "cpu" else step.to(params[0].device, torch.float32)
    fused(
        params, grads, fields["mean"], fields["square"], [], [counter] * len(params),
        lr=options["lr"], beta1=options["beta1"], beta2=options["beta2"], weight_decay=options["weight_decay"],
        eps=options["eps"], amsgrad=False, maximize=False,
    )  # fmt: skip


KERNELS: Mapping[str, Kernel] = MappingProxyType(
    {
        "sgd": partial(_sgd, nesterov=False),
        "momentum": partial(_sgd, nesterov=False),
        "nesterov": partial(_sgd, nesterov=True),
        "adam": partial(_adam, fused=torch._fused_adam_),
        "adamw": partial(_adam, fused=torch._fused_adamw_),
    }
)
